"""The kernels of soft-prompt embedding, run on the CPU, against the definition; and broken on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from kernel_emulator import SCHEDULES, Builder, Schedule
from planted_bugs import PlantedBug, caught_by, is_listed, plant
from soft_prompt_kernels import SOURCES, definitions, embed, prompt_gradient

from workbench.ops.soft_prompt.composed import composed_gradient
from workbench.ops.soft_prompt.definition import Inputs, definition

VOCABULARY = 30
TYPES = [
    (torch.bfloat16, torch.float32),
    (torch.float16, torch.float16),
    (torch.float32, torch.float32),
]
SHAPES = [  # rows, tokens, virtual tokens, size, prompts, scale
    (1, 1, 1, 8, None, None),
    (17, 3, 20, 24, None, 24**0.5),  # of a size whose root bf16 cannot hold
    (3, 65, 3, 328, 4, None),  # more pieces than a warp has lanes; a prompt that no row has
    (2, 0, 5, 136, 2, 2.0),
]


def make(
    shape: tuple[int, int, int, int, int | None, float | None], types: tuple[torch.dtype, ...]
) -> Inputs:
    batch, tokens, virtual, size, prompts, scale = shape
    generator = torch.Generator().manual_seed(batch)
    several = () if prompts is None else (prompts,)
    return Inputs(
        torch.randint(0, VOCABULARY, (batch, tokens), generator=generator),
        torch.randn(VOCABULARY, size, generator=generator).to(types[0]),
        torch.randn(*several, virtual, size, generator=generator).to(types[1]),
        None if prompts is None else torch.randint(0, prompts, (batch,), generator=generator),
        scale,
    )


def differences(builder: Builder, inputs: Inputs, schedule: Schedule, kernels: Path | None = None) -> str:
    """What the kernels make otherwise than the definition; nothing where they do what it does."""
    program = builder.build(SOURCES, definitions(inputs), kernels=kernels)
    expected = definition(inputs)
    if not torch.equal(embed(program, inputs, schedule), expected):
        return "output"
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).to(expected.dtype)
    found = prompt_gradient(program, inputs, grad, schedule)
    right = composed_gradient(grad.double(), inputs.prompt.double(), inputs.prompt_index)
    # Up to 17 terms of about 1 summed in fp32, rounded once.
    bound = 17 * 2.0**-23 * 4 + torch.finfo(found.dtype).eps * float(right.abs().max())
    return "" if float((found.double() - right).abs().max()) <= bound else "gradient"


@pytest.mark.parametrize("types", TYPES)
def test_they_do_what_the_definition_does(builder: Builder, types: tuple[torch.dtype, ...]) -> None:
    for shape in SHAPES:
        for schedule in SCHEDULES[:2]:  # threads do not meet
            assert not differences(builder, make(shape, types), schedule), shape


def test_what_there_is_not_becomes_nan(builder: Builder) -> None:
    given = make((4, 3, 2, 8, 2, None), TYPES[0])
    ids, index = given.ids.clone(), torch.tensor([0, 2, -1, 1])
    ids[0, 1], ids[3, 2] = VOCABULARY, -100
    given = given._replace(ids=ids, prompt_index=index)
    output = embed(builder.build(SOURCES, definitions(given)), given, SCHEDULES[0])
    expected = torch.zeros(4, 5, dtype=torch.bool)
    expected[[0, 3], [3, 4]] = True
    expected[1:3, :2] = True
    assert torch.equal(output.isnan().all(-1), expected) and torch.equal(output.isnan().any(-1), expected)


FORWARD, BACKWARD = SOURCES
BUGS = (
    PlantedBug(
        "rows past the last written",
        FORWARD,
        "if (row >= (long long)params.batch * length) return;",
        "",
        "emulator",
    ),
    PlantedBug(
        "the last virtual token taken for a token",
        FORWARD,
        "place < params.virtual_tokens",
        "place + 1 < params.virtual_tokens",
        "result",
    ),
    PlantedBug(
        "the first prompt for every row", FORWARD, "params.index ? params.index[batch] : 0", "0", "result"
    ),
    PlantedBug(
        "scale of tokens not rounded",
        FORWARD,
        "to_float(from_float<Element>(params.scale))",
        "params.scale",
        "result",
    ),
    PlantedBug(
        "an id past the table read", FORWARD, "id < params.vocabulary", "id <= params.vocabulary", "emulator"
    ),
    PlantedBug(
        "gradients of every prompt's rows", BACKWARD, "params.index[row] != prompt", "false", "result"
    ),
    PlantedBug(
        "rows of gradients without their tokens",
        BACKWARD,
        "(params.virtual_tokens + params.tokens)",
        "params.virtual_tokens",
        "result",
    ),
    PlantedBug("stores past the prompt", BACKWARD, "if (at >= own) return;", "", "emulator"),
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: PlantedBug, builder: Builder, tmp_path: Path) -> None:
    root = plant(bug, tmp_path)

    def checks() -> None:
        for shape in SHAPES:
            assert not differences(builder, make(shape, TYPES[0]), SCHEDULES[0], root)
        one = make(SHAPES[0], TYPES[0])
        one.ids.fill_(VOCABULARY)
        kernels = builder.build(SOURCES, definitions(one), kernels=root)
        assert embed(kernels, one, SCHEDULES[0])[0, 1].isnan().all()

    assert caught_by(checks) == bug.caught_by
    assert is_listed(bug), bug.row
