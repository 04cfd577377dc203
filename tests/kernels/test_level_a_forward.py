"""Shared-prefix attention's forward kernel at level A: its source, run on the CPU, against fp64."""

from __future__ import annotations

import itertools

import pytest
import torch
from kernel_emulator import SCHEDULES, Builder, Schedule
from shared_prefix_kernels import NAMES, Case, Kernels, check, compiled, make, shared_bytes

SOURCES = ("shared_prefix_forward.cu",)
LEAST_SHARED_BYTES = 99 * 1024
"""What a block may have at most on the GPUs of sm_80 and up that have least (sm_86, sm_89, sm_120)."""


@pytest.fixture(scope="module", params=itertools.product((64, 96, 128), NAMES), ids=str)
def kernels(request: pytest.FixtureRequest, builder: Builder) -> Kernels:
    head, dtype = request.param
    return compiled(builder, head, dtype, SOURCES)


@pytest.mark.parametrize("padded", [False, True])
def test_errs_at_most_twice_as_much_as_pytorch(kernels: Kernels, padded: bool) -> None:
    for number, (batch, queries, prefix) in enumerate(((17, 1, 20), (1, 3, 513), (2, 65, 1))):
        case = Case(batch, queries, prefix, 3 if padded else 0, padded)
        check(kernels, case, make(case, kernels.head, kernels.dtype), SCHEDULES[number])


def test_all_odd_shapes_in_one_type(builder: Builder) -> None:
    kernels = compiled(builder, 64, torch.bfloat16, SOURCES)
    for batch, queries, prefix in itertools.product((1, 17), (1, 3, 65), (1, 20, 513)):
        if batch * queries * prefix < 50_000:
            case = Case(batch, queries, prefix, 3, True)
            check(kernels, case, make(case, 64, torch.bfloat16), SCHEDULES[3])


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_no_order_of_threads_or_copies_changes_a_result(builder: Builder, schedule: Schedule) -> None:
    kernels = compiled(builder, 64, torch.bfloat16, SOURCES)
    case = Case(3, 37, 70, 30, True)
    check(kernels, case, make(case, 64, torch.bfloat16), schedule)


def test_a_long_row_and_other_groups(builder: Builder) -> None:
    for dtype, heads, kv_heads in ((torch.bfloat16, 4, 4), (torch.float32, 5, 1)):
        kernels = compiled(builder, 64, dtype, SOURCES)
        case = Case(2, 257, 20, 0, True, heads=heads, kv_heads=kv_heads)
        check(kernels, case, make(case, 64, dtype))


def test_shared_memory_fits_every_gpu() -> None:
    for head, dtype in itertools.product((64, 96, 128), NAMES):
        assert shared_bytes(head, dtype) <= LEAST_SHARED_BYTES
