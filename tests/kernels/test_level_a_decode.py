"""Shared-prefix attention's decode kernels at level A: their source, run on the CPU, against fp64."""

from __future__ import annotations

import itertools

import pytest
import torch
from kernel_emulator import SCHEDULES, Builder
from shared_prefix_kernels import NAMES, Case, Kernels, check, compiled, make, run

SOURCES = ("shared_prefix_decode.cu",)


@pytest.fixture(scope="module", params=itertools.product((64, 96, 128), NAMES), ids=str)
def kernels(request: pytest.FixtureRequest, builder: Builder) -> Kernels:
    head, dtype = request.param
    return compiled(builder, head, dtype, SOURCES)


@pytest.mark.parametrize("padded", [False, True])
def test_errs_at_most_twice_as_much_as_pytorch(kernels: Kernels, padded: bool) -> None:
    shapes = ((1, 1, 65, (3, 1)), (5, 1, 200, (2, 3)), (2, 3, 1, (1, 2)))
    for number, (batch, queries, prefix, splits) in enumerate(shapes):
        case = Case(batch, queries, prefix, 100 if padded else 0, padded, splits)
        check(kernels, case, make(case, kernels.head, kernels.dtype), SCHEDULES[number])


def test_many_rows_share_the_prefix(builder: Builder) -> None:
    kernels = compiled(builder, 64, torch.bfloat16, SOURCES)
    case = Case(17, 2, 150, 70, True, (2, 2))
    check(kernels, case, make(case, 64, torch.bfloat16), SCHEDULES[3])


def test_more_queries_than_a_block_has_rows(builder: Builder) -> None:
    kernels = compiled(builder, 64, torch.bfloat16, SOURCES)
    case = Case(2, 27, 20, 5, True, (2, 2))
    check(kernels, case, make(case, 64, torch.bfloat16))


def test_bits_do_not_depend_on_the_order_of_blocks(builder: Builder) -> None:
    kernels = compiled(builder, 64, torch.bfloat16, SOURCES)
    case = Case(2, 1, 130, 70, True, (2, 2))
    made = make(case, 64, torch.bfloat16)
    first, *others = (run(kernels, case, made, schedule) for schedule in SCHEDULES)
    assert all(torch.equal(found, other) for pair in others for found, other in zip(first, pair, strict=True))
