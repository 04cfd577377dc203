"""The kernels of selected log-probabilities, run on the CPU, against fp64; and broken on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from kernel_emulator import SCHEDULES, Builder, Complaint, copied_kernels
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
BUGS = {
    "a stage is read before all have fetched it": (TILE, "__syncthreads();  // the stage", "// the stage"),
    "one copy too many may be under way": (TILE, "wait<STAGES - 2>", "wait<STAGES - 1>"),
    "a stage is overwritten while it is read": (TILE, "fetch(step + STAGES - 1)", "fetch(step + STAGES)"),
    "sums are carried into the next tile": (TILE, "            tile.clear();\n", ""),
    "elements past the end of a row": (TILE, "element < inputs.size;", "element <= inputs.size;"),
    "places past the last": (TILE, "place < inputs.places;", "true;"),
    "chunks are read where they are not": (TILE, "chunk + lane / 8 % 2)", "chunk + lane / 16)"),
    "one column past the vocabulary": (FORWARD, "exists = column < end;", "exists = column <= end;"),
    "the target counts twice": (FORWARD, "!exists || column == target", "!exists"),
    "lanes that share a place are not joined": (
        FORWARD,
        "found.total += shuffle_xor(found.total, mask);",
        ";",
    ),
    "a maximum rises and the sum stays": (
        FORWARD,
        "one.total * exponential(one.most - base)",
        "one.total",
    ),
    "warps are joined before they are done": (
        FORWARD,
        "    __syncthreads();\n    const int place",
        "    const int place",
    ),
    "parts are added as if of one maximum": (
        COMBINE,
        " * exponential(params.partial_most[at] - most)",
        "",
    ),
    "a block's columns begin at 0": (BACKWARD, "column - params.first, pair", "column, pair"),
    "the target's own gradient is another's": (BACKWARD, "column == target", "column + 1 == target"),
    "a cap does not bend the slope": (BACKWARD, " * bend_of(inputs, logit)", ""),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(builder: Builder, tmp_path: Path, bug: str) -> None:
    file, right, wrong = BUGS[bug]
    folder = copied_kernels(tmp_path)
    source = folder / "cuda" / file
    text = source.read_text()
    assert text.count(right) == 1
    source.write_text(text.replace(right, wrong))
    with pytest.raises(Complaint):
        for case in CASES[1:]:
            made = make(case, torch.bfloat16)
            kernels = compiled(builder, case, torch.bfloat16, kernels=folder)
            for schedule in SCHEDULES:
                if wrong_results := errors(run(kernels, case, made, schedule), made):
                    raise Complaint(wrong_results)
