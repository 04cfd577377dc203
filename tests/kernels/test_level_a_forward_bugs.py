"""Bugs in shared-prefix attention's forward and decode kernels that level A must catch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from kernel_emulator import SCHEDULES, Builder, has_thread_sanitizer
from planted_bugs import PlantedBug, caught_by, is_listed, plant
from shared_prefix_kernels import Case, Kernels, check, compiled, make

ATTEND, TILES = "shared_prefix_attend.cuh", "shared_prefix_tiles.cuh"
FORWARD, DECODE = "shared_prefix_forward.cu", "shared_prefix_decode.cu"
CASES = {FORWARD: (Case(3, 17, 70, 3, True), Case(2, 3, 130)), DECODE: (Case(3, 1, 130, 150, True, (2, 2)),)}
RACED = {FORWARD: Case(1, 3, 130), DECODE: Case(1, 1, 20, 0, False, (1, 1))}

BUGS = (
    PlantedBug(
        "no barrier before a tile is used",
        ATTEND,
        "copy_async_wait<1>();\n        __syncthreads();\n",
        "copy_async_wait<1>();\n",
        "result",
        races=True,
    ),
    PlantedBug(
        "no barrier before a tile is overwritten",
        ATTEND,
        "        __syncthreads();\n        span = next;",
        "        span = next;",
        "result",
        races=True,
    ),
    PlantedBug(
        "no barrier before the queries are read",
        ATTEND,
        "    copy_async_wait<1>();\n    __syncthreads();\n",
        "    copy_async_wait<1>();\n",
        "result",
        races=True,
    ),
    PlantedBug(
        "waits for one group of copies too few",
        ATTEND,
        "        copy_async_commit();\n        copy_async_wait<1>();",
        "        copy_async_commit();\n        copy_async_wait<2>();",
        "emulator",
    ),
    PlantedBug("the two buffers never change places", ATTEND, "stage ^= 1)", "stage ^= 0)", "result"),
    PlantedBug(
        "causal mask off by one",
        ATTEND,
        "places[half].query + in.own - in.queries + 1",
        "places[half].query + in.own - in.queries + 2",
        "result",
    ),
    PlantedBug(
        "rows see own keys of other rows of the batch",
        ATTEND,
        "places[half].batch != span.segment",
        "false",
        "result",
    ),
    PlantedBug(
        "end of a tile not masked", ATTEND, "limits[half] = span.until;", "limits[half] = 1 << 30;", "result"
    ),
    PlantedBug(
        "output not rescaled under a new maximum",
        ATTEND,
        "gathered.output[i][2 * half] *= rescale;",
        "",
        "result",
    ),
    PlantedBug(
        "sum not rescaled under a new maximum",
        ATTEND,
        "gathered.sum[half] * rescale",
        "gathered.sum[half]",
        "result",
    ),
    PlantedBug(
        "maximum of half the columns",
        ATTEND,
        "        highest = fmaxf(highest, shuffle_xor(highest, 2));\n",
        "",
        "result",
    ),
    PlantedBug(
        "left padding off by one",
        TILES,
        "max(in.starts[segment], 0)",
        "max(in.starts[segment] + 1, 0)",
        "result",
    ),
    PlantedBug(
        "right padding of another row",
        TILES,
        "min(in.ends[segment], in.own)",
        "min(in.ends[0], in.own)",
        "result",
    ),
    PlantedBug(
        "query heads dealt to the wrong key/value heads",
        TILES,
        "kv_head * group + row % group",
        "row % group * in.kv_heads + kv_head",
        "result",
    ),
    PlantedBug(
        "keys fetched as if they were the left operand",
        TILES,
        "(lane % 8 + lane / 16 * 8) * PITCH + lane / 8 % 2 * 8",
        "lane % 16 * PITCH + lane / 16 * 8",
        "result",
    ),
    PlantedBug(
        "values not transposed",
        TILES,
        "load_matrices_transposed(value,",
        "load_matrices(value,",
        "result",
    ),
    PlantedBug(
        "values by the strides of keys", TILES, "value + from * vs.row", "value + from * ks.row", "result"
    ),
    PlantedBug("copies behind the last key", TILES, "row < span.until", "row >= 0", "emulator"),
    PlantedBug("stores behind the last row", FORWARD, "if (at >= rows.until) continue;", "", "emulator"),
    PlantedBug(
        "strides of the output mixed up",
        FORWARD,
        "row.head * params.output_strides.head + row.query * params.output_strides.row",
        "row.head * params.output_strides.row + row.query * params.output_strides.head",
        "result",
    ),
    PlantedBug(
        "parts of own keys where those of the prefix are",
        DECODE,
        "params.prefix_splits + split}",
        "split}",
        "result",
        races=True,
    ),
    PlantedBug(
        "the last keys in no part", TILES, "(tiles + splits - 1) / splits", "tiles / splits", "result"
    ),
    PlantedBug("parts weighed by powers of two", DECODE, "- highest) * LOG2_E)", "- highest))", "result"),
    PlantedBug(
        "the last part left out of the sum",
        DECODE,
        "split < splits; ++split) {",
        "split < splits - 1; ++split) {",
        "result",
    ),
)


def kernels_of(
    bug: PlantedBug, builder: Builder, folder: Path, sanitized: bool = False
) -> tuple[str, Kernels]:
    """The kernel that shows the bug, with it."""
    source = DECODE if bug.file == DECODE or bug.name == "the last keys in no part" else FORWARD
    root = plant(bug, folder)
    return source, compiled(builder, 64, torch.bfloat16, (source,), kernels=root, sanitized=sanitized)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: PlantedBug, builder: Builder, tmp_path: Path) -> None:
    source, kernels = kernels_of(bug, builder, tmp_path)

    def checks() -> None:
        for case in CASES[source]:
            for schedule in SCHEDULES:
                check(kernels, case, make(case, 64, torch.bfloat16), schedule)

    assert caught_by(checks) == bug.caught_by
    assert is_listed(bug), bug.row


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug.races], ids=lambda bug: bug.name)
def test_thread_sanitizer_reports_races(bug: PlantedBug, builder: Builder, tmp_path: Path) -> None:
    if not has_thread_sanitizer(builder.folder):
        pytest.skip("no ThreadSanitizer with fibers here")
    source, kernels = kernels_of(bug, builder, tmp_path, sanitized=True)
    case = RACED[source]
    made = make(case, 64, torch.bfloat16)
    assert caught_by(lambda: check(kernels, case, made)) == "ThreadSanitizer"


def test_thread_sanitizer_finds_no_race(builder: Builder) -> None:
    if not has_thread_sanitizer(builder.folder):
        pytest.skip("no ThreadSanitizer with fibers here")
    for source, case in RACED.items():
        kernels = compiled(builder, 64, torch.bfloat16, (source,), sanitized=True)
        check(kernels, case, make(case, 64, torch.bfloat16))
