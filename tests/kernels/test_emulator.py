"""The emulator itself: it computes what kernels may do, and complains of what they may not."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
import torch
from kernel_emulator import SCHEDULES, Builder, Complaint, Launch, Schedule
from torch import Tensor

SOURCE = Path(__file__).with_name("misbehaving.cu")


class Params(ctypes.Structure):
    _fields_ = [("source", ctypes.c_void_p), ("target", ctypes.c_void_p), ("what", ctypes.c_int)]


def run(builder: Builder, what: int, schedule: Schedule = SCHEDULES[0]) -> tuple[Tensor, Tensor]:
    source, target = torch.randn(64), torch.zeros(64)
    params = Params(source.data_ptr(), target.data_ptr(), what)
    launch = Launch("misbehaving", (1, 1, 1), (64, 1, 1), 256, params)
    builder.build([SOURCE], []).run([launch], [source, target], schedule)
    return source, target


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_what_kernels_may_do(builder: Builder, schedule: Schedule) -> None:
    source, target = run(builder, 0, schedule)
    assert torch.equal(target, source[torch.arange(64) ^ 33])


@pytest.mark.parametrize(
    ("what", "complaint"),
    {
        1: "an operation of a warp of which|deadlock: 0 threads wait at __syncthreads, 8 in an operation",
        2: "__syncthreads after 32 threads|deadlock: 32 threads wait at __syncthreads",
        3: "lanes of a warp meet in different operations",
        4: "buffer 1 was written to|bytes behind buffer 1",
        5: "an address .* bytes (before|behind)|no buffer's",
        6: "bytes behind shared memory",
        7: "copy_async not aligned to 16 bytes",
        8: "copy_async from outside every buffer",
        9: "copy_async to outside shared memory",
        10: "copies that were never waited for",
        11: "load_matrices of a row outside shared memory",
    }.items(),
)
def test_what_they_may_not(builder: Builder, what: int, complaint: str) -> None:
    for schedule in (SCHEDULES[0], SCHEDULES[2]):
        with pytest.raises(Complaint, match=complaint):
            run(builder, what, schedule)


def test_what_nobody_wrote_is_no_number(builder: Builder) -> None:
    assert run(builder, 12)[1].isnan().all()


def test_parameters_of_another_size_are_refused(builder: Builder) -> None:
    launch = Launch("misbehaving", (1, 1, 1), (64, 1, 1), 256, bytes(16))
    with pytest.raises(Complaint, match="16 bytes of parameters, not 24"):
        builder.build([SOURCE], []).run([launch], [])
