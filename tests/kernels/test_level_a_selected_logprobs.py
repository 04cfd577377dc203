"""The kernels of selected log-probabilities, run on the CPU, against fp64; and broken on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from kernel_emulator import SCHEDULES, Builder, has_thread_sanitizer
from planted_bugs import PlantedBug, caught_by, is_listed, plant
from selected_logprobs_kernels import NAMES, Case, compiled, errors, make, run

CASES = [
    Case(1, 1, 8),
    Case(3, 257, 16, splits=5, blocks=3),  # more parts than tiles
    Case(65, 301, 72, splits=2, blocks=2, softcap=3.0, has_bias=True),
    Case(130, 128, 264, splits=1, has_bias=True),  # more pieces of D than stages
    Case(20, 600, 136, splits=2, blocks=3),  # several tiles of several pieces one after another
]


@pytest.mark.parametrize("dtype", NAMES)
def test_they_err_at_most_twice_as_much_as_pytorch_under_every_schedule(
    builder: Builder, dtype: torch.dtype
) -> None:
    for case in CASES:
        made, kernels = make(case, dtype), compiled(builder, case, dtype)
        for schedule in SCHEDULES:
            found = run(kernels, case, made, schedule)
            assert not errors(found, made), (case, schedule)


def test_targets_outside_the_vocabulary_become_nan_and_ignored_ones_nothing(builder: Builder) -> None:
    case = Case(6, 40, 16)
    made = make(case, torch.bfloat16)
    targets = torch.tensor([3, -100, 40, -1, 1 << 40, -100])
    found = run(
        compiled(builder, case, torch.bfloat16),
        case,
        made._replace(inputs=made.inputs._replace(targets=targets)),
    )
    assert found.logprobs.isnan().tolist() == [False, False, True, True, True, False]
    assert not found.logprobs[[1, 5]].any() and not found.lse[[1, 5]].any()
    assert not found.is_best[1:].any() and not found.logit_grad[[1, 5]].any()


TILE, FORWARD = "selected_logprobs_tile.cuh", "selected_logprobs_forward.cu"
COMBINE, BACKWARD = "selected_logprobs_combine.cu", "selected_logprobs_backward.cu"
RACED = Case(1, 130, 200)  # two tiles of more pieces than stages

BUGS = (
    PlantedBug(
        "a stage of logits read before all have fetched it",
        TILE,
        "__syncthreads();  // the stage",
        "// the stage",
        "result",
        races=True,
    ),
    PlantedBug(
        "one stage of logits too many under way", TILE, "wait<STAGES - 2>", "wait<STAGES - 1>", "emulator"
    ),
    PlantedBug(
        "a stage of logits overwritten while it is read",
        TILE,
        """        __syncthreads();  // the stage is there for all; the one before it is read no more
        fetch(step + STAGES - 1);
""",
        """        fetch(step + STAGES - 1);
        __syncthreads();
""",
        "result",
        races=True,
    ),
    PlantedBug("logits carried into the next tile", TILE, "            tile.clear();\n", "", "result"),
    PlantedBug(
        "elements past the end of a hidden state",
        TILE,
        "element < inputs.size;",
        "element <= inputs.size;",
        "result",
    ),
    PlantedBug("places past the last", TILE, "place < inputs.places;", "true;", "emulator"),
    PlantedBug(
        "weights fetched as if they were the left operand",
        TILE,
        "chunk + lane / 8 % 2)",
        "chunk + lane / 16)",
        "result",
    ),
    PlantedBug(
        "one column past the vocabulary",
        FORWARD,
        "exists = column < end;",
        "exists = column <= end;",
        "result",
    ),
    PlantedBug("the target counted twice", FORWARD, "!exists || column == target", "!exists", "result"),
    PlantedBug(
        "sum of half the columns",
        FORWARD,
        "found.total += shuffle_xor(found.total, mask);",
        ";",
        "result",
    ),
    PlantedBug(
        "running sum not rescaled under a new maximum",
        FORWARD,
        "one.total * exponential(one.most - base)",
        "one.total",
        "result",
    ),
    PlantedBug(
        "warps joined before they are done",
        FORWARD,
        "    __syncthreads();\n    const int place",
        "    const int place",
        "result",
        races=True,
    ),
    PlantedBug(
        "parts of the vocabulary added as if of one maximum",
        COMBINE,
        " * exponential(params.partial_most[at] - most)",
        "",
        "result",
    ),
    PlantedBug(
        "columns of a block counted from 0",
        BACKWARD,
        "column - params.first, pair",
        "column, pair",
        "emulator",
    ),
    PlantedBug(
        "the target's gradient at another token",
        BACKWARD,
        "column == target",
        "column + 1 == target",
        "result",
    ),
    PlantedBug("slope not bent by the cap", BACKWARD, " * bend_of(inputs, logit)", "", "result"),
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: PlantedBug, builder: Builder, tmp_path: Path) -> None:
    root = plant(bug, tmp_path)

    def checks() -> None:
        for case in CASES[1:]:
            made = make(case, torch.bfloat16)
            kernels = compiled(builder, case, torch.bfloat16, kernels=root)
            for schedule in SCHEDULES:
                assert not errors(run(kernels, case, made, schedule), made)

    assert caught_by(checks) == bug.caught_by
    assert is_listed(bug), bug.row


@pytest.mark.parametrize("bug", [None, *(bug for bug in BUGS if bug.races)], ids=lambda bug: bug and bug.name)
def test_thread_sanitizer_reports_races_and_no_others(
    bug: PlantedBug | None, builder: Builder, tmp_path: Path
) -> None:
    if not has_thread_sanitizer(builder.folder):
        pytest.skip("no ThreadSanitizer with fibers here")
    root = plant(bug, tmp_path) if bug else None
    made = make(RACED, torch.bfloat16)
    kernels = compiled(builder, RACED, torch.bfloat16, kernels=root, sanitized=True)

    def checks() -> None:
        assert not errors(run(kernels, RACED, made), made)

    assert caught_by(checks) == ("ThreadSanitizer" if bug else None)
