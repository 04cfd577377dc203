"""Shared-prefix attention's forward and decode kernels on the CPU: cases, launches, and allowed errors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from kernel_emulator import SCHEDULES, Builder, Emulator, Launch, Schedule
from torch import Tensor

from workbench.ops.cuda.shared_prefix_params import TENSORS as TENSORS
from workbench.ops.cuda.shared_prefix_params import DecodeParams, ForwardParams
from workbench.ops.cuda.shared_prefix_params import InputParams as InputParams
from workbench.ops.cuda.shared_prefix_params import Strides as Strides
from workbench.ops.shared_prefix.definition import Inputs, definition

NAMES = {torch.bfloat16: "DTYPE_BF16", torch.float16: "DTYPE_FP16", torch.float32: "DTYPE_FP32"}
EPSILON = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11, torch.float32: 2.0**-23}
GAP = 8  # elements between the rows of every tensor, which nobody may read or write
ROWS, THREADS = 64, 128


@dataclass(frozen=True)
class Case:
    """Shapes of a call. `earlier` own keys lie before the first query's; `padded`: uneven on both sides, and
    the first row sees none of its own keys. With `splits` (of the prefix, of own keys) the decode kernels."""

    batch: int
    queries: int
    prefix: int
    earlier: int = 0
    padded: bool = False
    splits: tuple[int, int] | None = None
    heads: int = 6
    kv_heads: int = 2


class Made(NamedTuple):
    """A case's tensors, what is to come out in fp64, and what plain PyTorch makes of it in their own type."""

    inputs: Inputs
    exact: tuple[Tensor, Tensor]
    plain: tuple[Tensor, Tensor]


class Kernels(NamedTuple):
    """The kernels of one size of heads and one type, compiled."""

    emulator: Emulator
    head: int
    dtype: torch.dtype


def compiled(
    builder: Builder,
    head: int,
    dtype: torch.dtype,
    sources: tuple[str, ...] = ("shared_prefix_forward.cu", "shared_prefix_decode.cu"),
    *,
    kernels: Path | None = None,
    sanitized: bool = False,
) -> Kernels:
    emulator = builder.build(sources, definitions(head, dtype), kernels=kernels, sanitized=sanitized)
    return Kernels(emulator, head, dtype)


def definitions(head: int, dtype: torch.dtype) -> list[str]:
    """The macros that choose a variant."""
    return [f"HEAD={head}", NAMES[dtype]]


def make(case: Case, head: int, dtype: torch.dtype) -> Made:
    """Random tensors in memory that is NaN between their rows; queries and values as models have them (heads
    behind positions), keys as a cache has them."""
    generator = torch.Generator().manual_seed(case.batch * 1000 + case.queries * 10 + case.prefix)

    def random(*shape: int) -> Tensor:
        values = torch.randn(*shape, head, generator=generator)
        return gapped(values.shape, dtype, torch.nan).copy_(values)

    own = case.queries + case.earlier
    query = random(case.batch, case.queries, case.heads).transpose(1, 2)
    prefix_key, key = random(case.kv_heads, case.prefix), random(case.batch, case.kv_heads, own)
    prefix_value = random(case.prefix, case.kv_heads).transpose(0, 1)
    value = random(case.batch, own, case.kv_heads).transpose(1, 2)
    starts = ends = None
    if case.padded:
        starts = torch.randint(-1, own, (case.batch,), generator=generator, dtype=torch.int32)
        ends = torch.randint(1, own + 2, (case.batch,), generator=generator, dtype=torch.int32)
        starts[0], ends[0] = own, 0
    inputs = Inputs(query, prefix_key, prefix_value, key, value, starts, ends, head**-0.5)
    exact = definition(inputs._replace(**{name: getattr(inputs, name).double() for name in TENSORS}))
    return Made(inputs, exact, definition(inputs))


def gapped(shape: tuple[int, ...], dtype: torch.dtype, fill: float) -> Tensor:
    """A tensor whose rows lie `GAP` elements apart."""
    return torch.full((*shape[:-1], shape[-1] + GAP), fill, dtype=dtype)[..., : shape[-1]]


def run(kernels: Kernels, case: Case, made: Made, schedule: Schedule = SCHEDULES[0]) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp as the kernels make them; both are NaN before."""
    inputs, head, dtype = made.inputs, kernels.head, kernels.dtype
    output = gapped((case.batch, case.queries, case.heads, head), dtype, 7.0).transpose(1, 2)
    output.fill_(torch.nan)
    lse = torch.full((case.batch, case.heads, case.queries), torch.nan)
    group = case.heads // case.kv_heads
    tiles, own_tiles = -(-case.batch * case.queries * group // ROWS), -(-case.queries * group // ROWS)
    block, shared = (THREADS, 1, 1), shared_bytes(head, dtype)
    written = {"output": output.data_ptr(), "output_strides": Strides.of(output), "lse": lse.data_ptr()}
    tensors = [*inputs[:5], output, lse, *(t for t in (inputs.starts, inputs.ends) if t is not None)]
    if case.splits is None:
        params = ForwardParams(_inputs(case, inputs), **written)
        launches = [Launch("shared_prefix_forward", (tiles, case.kv_heads, 1), block, shared, params)]
    else:
        on_prefix, on_own = case.splits
        partial = torch.full((on_prefix + on_own, *lse.shape, head), torch.nan)
        partial_lse = torch.full(partial.shape[:-1], torch.nan)
        tensors += [partial, partial_lse]
        parts = DecodeParams(
            _inputs(case, inputs), *written.values(), partial.data_ptr(), partial_lse.data_ptr(), *case.splits
        )
        blocks = tiles * on_prefix + case.batch * own_tiles * on_own
        launches = [
            Launch("shared_prefix_decode", (blocks, case.kv_heads, 1), block, shared, parts),
            Launch("shared_prefix_decode_combine", (-(-lse.numel() // 4), 1, 1), block, 0, parts),
        ]
    kernels.emulator.run(launches, tensors, schedule)
    beside = output.as_strided((output.numel() // head, GAP), (head + GAP, 1), head)
    assert (beside == 7).all(), "something was written between the rows of the output"
    return output, lse


def check(kernels: Kernels, case: Case, made: Made, schedule: Schedule = SCHEDULES[0]) -> None:
    """Both results err at most twice as much as plain PyTorch in the same type, against fp64, and half a unit
    in the last place of what is stored is always allowed."""
    output, lse = run(kernels, case, made, schedule)
    epsilon = EPSILON[kernels.dtype]
    for name, found, plain, exact, unit in (
        ("output", output, made.plain[0], made.exact[0], epsilon),
        ("log-sum-exp", lse, made.plain[1], made.exact[1], EPSILON[torch.float32]),
    ):
        error, allowed = relative(found, exact), max(2 * relative(plain, exact), unit / 2)
        assert error <= allowed, f"{name} errs by {error:.1e}, not {allowed:.1e}, at {case} under {schedule}"


def relative(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact.double()).norm() / exact.double().norm())


def shared_bytes(head: int, dtype: torch.dtype) -> int:
    """Of shared_prefix_forward.cu and shared_prefix_decode.cu."""
    size = dtype.itemsize
    keys = 64 if size == 2 else 32
    return (ROWS + 4 * keys) * (head + 16 // size) * size


def _inputs(case: Case, inputs: Inputs) -> InputParams:
    addresses = [tensor.data_ptr() for tensor in inputs[:5]]
    bounds = [None if tensor is None else tensor.data_ptr() for tensor in (inputs.starts, inputs.ends)]
    sizes = (case.batch, case.heads, case.kv_heads, case.queries, case.prefix, inputs.key.shape[2])
    return InputParams(*addresses, *bounds, *map(Strides.of, inputs[:5]), *sizes, inputs.scale)
