"""Shared-prefix attention's backward kernels, run on the CPU under adversarial schedules, against fp64."""

from __future__ import annotations

import itertools

import pytest
import torch
from backward_kernels import backward, build, check, run
from kernel_emulator import SCHEDULES, Builder, has_thread_sanitizer
from shared_prefix_kernels import Case

TYPES = (torch.bfloat16, torch.float16, torch.float32)
# Where there are few queries there are many heads, or luck would decide whose few numbers err more.
CASES = (
    Case(1, 1, 1, heads=36, kv_heads=12),
    Case(5, 3, 20, earlier=2, padded=True, heads=18, kv_heads=6),
    Case(1, 65, 130, heads=4, kv_heads=4),
    Case(3, 65, 20, earlier=70, padded=True, heads=4, kv_heads=1),
    Case(5, 1, 130, earlier=64, padded=True, heads=12, kv_heads=4),
    Case(1, 3, 1, heads=40, kv_heads=8),
)
LARGEST = Case(3, 65, 70, earlier=5, padded=True)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("head", [64, 96, 128])
def test_every_gradient_errs_at_most_twice_as_much_as_pytorch(
    builder: Builder, head: int, dtype: torch.dtype
) -> None:
    kernels = build(builder, head, dtype)
    for case, schedule in zip(CASES, itertools.cycle(SCHEDULES), strict=False):
        check(kernels, case, backward(case, head, dtype), schedule)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_long_prefixes_and_large_batches(builder: Builder, dtype: torch.dtype) -> None:
    for case in (Case(17, 3, 513, padded=True), Case(1, 257, 513, heads=2, kv_heads=1)):
        check(build(builder, 64, dtype), case, backward(case, 64, dtype), SCHEDULES[2], splits=4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_every_schedule_gives_the_same_bits(builder: Builder, dtype: torch.dtype) -> None:
    kernels, made = build(builder, 64, dtype), backward(LARGEST, 64, dtype)
    first, *others = (check(kernels, LARGEST, made, schedule) for schedule in SCHEDULES)
    for other in others:
        assert all(torch.equal(one, same) for one, same in zip(first, other, strict=True))


@pytest.mark.parametrize("splits", [1, 2, 40])
def test_the_prefix_gradient_is_the_same_however_the_rows_are_split(builder: Builder, splits: int) -> None:
    """Forty parts are more than there are tiles of rows."""
    case = Case(4, 33, 20)
    for dtype in (torch.bfloat16, torch.float32):
        check(build(builder, 64, dtype), case, backward(case, 64, dtype), splits=splits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_scores_far_from_zero(builder: Builder, dtype: torch.dtype) -> None:
    """Some three hundred below and above: the exponential of what is not masked would be infinite."""
    case = Case(3, 5, 1, earlier=2, padded=True, heads=12, kv_heads=4)
    check(build(builder, 64, dtype), case, backward(case, 64, dtype, sharpness=300.0))


def test_bounds_may_be_any_numbers(builder: Builder) -> None:
    case = Case(4, 5, 3, earlier=4, padded=True)
    kernels, made = build(builder, 64, torch.float32), backward(case, 64, torch.float32)
    assert made.inputs.starts is not None and made.inputs.ends is not None
    wanted = run(kernels, case, made)
    made.inputs.starts.copy_(torch.where(made.inputs.starts <= 0, -(2**20), made.inputs.starts))
    made.inputs.ends.copy_(torch.where(made.inputs.ends >= 9, 2**20, made.inputs.ends))
    made.inputs.starts[0], made.inputs.ends[0] = 2**20, -(2**20)
    for one, other in zip(run(kernels, case, made), wanted, strict=True):
        assert torch.equal(one, other)


def test_no_race_is_found(builder: Builder) -> None:
    if not has_thread_sanitizer(builder.folder):
        return  # the schedules above remain
    case = Case(1, 33, 3, heads=2, kv_heads=1)  # two tiles of everything that is streamed
    for dtype in (torch.bfloat16, torch.float32):
        check(build(builder, 64, dtype, sanitized=True), case, backward(case, 64, dtype), SCHEDULES[3])
