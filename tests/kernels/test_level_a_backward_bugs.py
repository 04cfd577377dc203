"""Bugs in shared-prefix attention's backward kernels that level A must catch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from backward_kernels import backward, build, check
from kernel_emulator import SCHEDULES, Builder, has_thread_sanitizer
from planted_bugs import PlantedBug, caught_by, is_listed, plant
from shared_prefix_kernels import Case, Kernels

TILES, MMA, FMA = (f"shared_prefix_backward_{name}.cuh" for name in ("tiles", "mma", "fma"))
DELTA, QUERY, OWN, PREFIX, REDUCE = (
    f"shared_prefix_backward_{name}.cu" for name in ("delta", "query", "own", "prefix", "reduce")
)
KEYS = "shared_prefix_backward_keys.cuh"

# Several tiles of everything, the last of each not full; a row that sees the prefix alone, one whose own keys
# begin within a tile and end before the last, and one whose first lies in the second tile.
CASE = Case(3, 33, 130, earlier=40, padded=True)
BOUNDS = ((73, 0), (3, 70), (66, 73))
# Scores so low that keys which are not there, with a score of zero, would have an infinite probability.
LOW = Case(3, 5, 1, earlier=2, padded=True)
LOW_BOUNDS = ((7, 0), (4, 7), (1, 5))
RACED = Case(1, 33, 3, heads=2, kv_heads=1)

BUGS = (
    PlantedBug(
        "no barrier before keys are used",
        QUERY,
        "        copy_async_wait<0>();\n        __syncthreads();",
        "        copy_async_wait<0>();\n",
        "result",
    ),
    PlantedBug(
        "keys overwritten while others read them",
        QUERY,
        """        copy_async_wait<0>();
        __syncthreads();  // this tile is there, and nobody reads the one before any more
        if (tile + 1 < tiles) load(tile + 1);
""",
        """        if (tile + 1 < tiles) load(tile + 1);
        copy_async_wait<0>();
        __syncthreads();
""",
        "result",
    ),
    PlantedBug(
        "no barrier before rows of queries are used",
        KEYS,
        "        copy_async_wait<0>();\n        __syncthreads();",
        "        copy_async_wait<0>();\n",
        "result",
    ),
    PlantedBug(
        "waits for one group of copies too few",
        KEYS,
        "copy_async_wait<0>()",
        "copy_async_wait<1>()",
        "emulator",
    ),
    PlantedBug(
        "log-sum-exps kept where those in use are",
        KEYS,
        "keep_side(step + 1, side)",
        "keep_side(step, side)",
        "result",
    ),
    PlantedBug(
        "weights read before other lanes have written them",
        FMA,
        "    __syncwarp();\n    Sums part;",
        "    Sums part;",
        "result",
        races=True,
    ),
    PlantedBug(
        "weights overwritten before other lanes have read them",
        FMA,
        "    __syncwarp();  // what was there has been read\n",
        "",
        "result",
    ),
    PlantedBug(
        "queries see one own key too many",
        QUERY,
        "rows.last[slot] + 1) : end",
        "rows.last[slot] + 2) : end",
        "result",
    ),
    PlantedBug(
        "own keys get gradients from one query too many",
        KEYS,
        "(key - tile.earlier) * group;",
        "(key - tile.earlier - 1) * group;",
        "result",
    ),
    PlantedBug(
        "end of the prefix not masked",
        QUERY,
        "key < begin || key >= until",
        "key < begin || (is_own && key >= until)",
        "result",
    ),
    PlantedBug(
        "left padding seen by queries",
        QUERY,
        "key < begin || key >= until",
        "key >= until",
        "result",
    ),
    PlantedBug(
        "padding gets gradients",
        KEYS,
        "!exists || first_row",
        "first_row",
        "result",
    ),
    PlantedBug(
        "tiles that nobody sees left unwritten",
        OWN,
        "    KeySums sums;\n",
        "    KeySums sums;\n    if (tile.begin >= tile.end) return;\n",
        "result",
    ),
    PlantedBug(
        "query gradient without the scale",
        QUERY,
        "store_row(sums, slot, inputs.scale,",
        "store_row(sums, slot, 1.0f,",
        "result",
    ),
    PlantedBug(
        "prefix key gradient without the scale",
        PREFIX,
        "store_row(sums.key, slot, inputs.scale,",
        "store_row(sums.key, slot, 1.0f,",
        "result",
    ),
    PlantedBug(
        "delta not subtracted",
        KEYS,
        "(gradient - sides[STREAMED + row])",
        "gradient",
        "result",
    ),
    PlantedBug(
        "delta of half a row",
        DELTA,
        "int mask = WARP / 2;",
        "int mask = WARP / 4;",
        "result",
    ),
    PlantedBug(
        "queries of another group",
        TILES,
        "kv_head * by_group.by + row - query * by_group.by",
        "kv_head + row - query * by_group.by",
        "result",
    ),
    PlantedBug(
        "all rows taken from the first of the batch",
        KEYS,
        "tile.batch + batches",
        "tile.batch",
        "result",
    ),
    PlantedBug(
        "the last rows in no part",
        PREFIX,
        "(steps + params.prefix_splits - 1) / params.prefix_splits",
        "steps / params.prefix_splits",
        "result",
    ),
    PlantedBug(
        "one part left out of the sum",
        REDUCE,
        "first + i < params.prefix_splits ?",
        "first + i < params.prefix_splits - 1 ?",
        "result",
    ),
    PlantedBug(
        "log-sum-exps read behind the last row",
        KEYS,
        " || row >= tile.rows)",
        ")",
        "emulator",
    ),
    PlantedBug(
        "stores behind the last key",
        OWN,
        "        if (key >= inputs.own) continue;\n",
        "",
        "emulator",
    ),
    PlantedBug(
        "values by the strides of keys",
        OWN,
        "tile.value_stride = inputs.value_strides.row",
        "tile.value_stride = inputs.key_strides.row",
        "result",
    ),
    PlantedBug(
        "streamed rows not transposed",
        MMA,
        "load_matrices_transposed(right,",
        "load_matrices(right,",
        "result",
    ),
)


def kernels_of(bug: PlantedBug, builder: Builder, folder: Path, sanitized: bool = False) -> Kernels:
    """The kernels with the bug in them."""
    dtype = torch.float32 if bug.file == FMA else torch.bfloat16
    return build(builder, 64, dtype, kernels=plant(bug, folder), sanitized=sanitized)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: PlantedBug, builder: Builder, tmp_path: Path) -> None:
    kernels = kernels_of(bug, builder, tmp_path)
    made = backward(CASE, 64, kernels.dtype, bounds=BOUNDS)

    def checks() -> None:
        for schedule in SCHEDULES:
            check(kernels, CASE, made, schedule)
        check(kernels, LOW, backward(LOW, 64, kernels.dtype, bounds=LOW_BOUNDS, sharpness=300.0))

    assert caught_by(checks) == bug.caught_by
    assert is_listed(bug), bug.row


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug.races], ids=lambda bug: bug.name)
def test_thread_sanitizer_reports_races(bug: PlantedBug, builder: Builder, tmp_path: Path) -> None:
    if not has_thread_sanitizer(builder.folder):
        pytest.skip("no ThreadSanitizer with fibers here")
    kernels = kernels_of(bug, builder, tmp_path, sanitized=True)
    made = backward(RACED, 64, kernels.dtype)

    def checks() -> None:
        check(kernels, RACED, made)

    assert caught_by(checks) == "ThreadSanitizer"
