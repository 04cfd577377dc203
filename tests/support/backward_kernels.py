"""Shared-prefix attention's backward kernels on the CPU: launches, wanted gradients, and allowed errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from kernel_emulator import SCHEDULES, Builder, Launch, Schedule
from shared_prefix_kernels import (
    EPSILON,
    TENSORS,
    THREADS,
    Case,
    Kernels,
    compiled,
    gapped,
    make,
)
from torch import Tensor

from workbench.ops.cuda.shared_prefix_params import BackwardParams, InputParams, Strides
from workbench.ops.shared_prefix.definition import (
    Gradients,
    Inputs,
    definition,
    definition_backward,
    visible_own,
)

NAMES = ("delta", "query", "own", "prefix", "reduce")
SOURCES = tuple(f"shared_prefix_backward_{name}.cu" for name in NAMES)
WRITTEN = (*(f"{name}_grad" for name in TENSORS),)
SPLITS = 3


class Backward(NamedTuple):
    """A case's tensors, what the forward left, the output's gradient; the five gradients in fp64, and those
    that plain PyTorch makes of the same in the case's own type."""

    inputs: Inputs
    output: Tensor
    lse: Tensor
    grad: Tensor
    exact: Gradients
    plain: Gradients


def backward(
    case: Case,
    head: int,
    dtype: torch.dtype,
    *,
    bounds: Sequence[tuple[int, int]] = (),
    sharpness: float = 1.0,
) -> Backward:
    """Random tensors (see `shared_prefix_kernels.make`); own keys that their row does not see are NaN.

    `bounds` are the starts and ends to take instead of random ones in a padded case, `sharpness` is what the
    usual scale is multiplied by: scores are about so large.
    """
    inputs = make(case, head, dtype).inputs
    inputs = inputs._replace(scale=inputs.scale * sharpness)
    for row, (start, end) in enumerate(bounds):
        assert inputs.starts is not None and inputs.ends is not None
        inputs.starts[row], inputs.ends[row] = start, end
    five: list[Any] = [tensor.double().requires_grad_() for tensor in inputs[:5]]
    rest: tuple[Any, ...] = inputs[5:]
    output, lse = definition(Inputs(*five, *rest))
    like = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    grad = _rows_apart(like, torch.nan)
    exact: Any = torch.autograd.grad(output, five, grad.double())
    output, lse = output.detach().to(dtype), lse.detach().float().contiguous()
    plain = definition_backward(inputs, grad, output, lse)
    if case.padded:
        seen = visible_own(1, inputs.key.shape[2], inputs.starts, inputs.ends, "cpu")[:, 0]
        for tensor in (inputs.key, inputs.value):
            tensor.masked_fill_(~seen[:, None, :, None], torch.nan)
    return Backward(inputs, output, lse, grad, exact, plain)


def run(
    kernels: Kernels, case: Case, made: Backward, schedule: Schedule = SCHEDULES[0], *, splits: int = SPLITS
) -> Gradients:
    """The gradients as the kernels make them. All that they write is NaN before."""
    inputs = made.inputs
    found = [_rows_apart(tensor, 7.0).fill_(torch.nan) for tensor in inputs[:5]]
    delta = torch.full_like(made.lse, torch.nan)
    partial = [torch.full((splits, *inputs.prefix_key.shape), torch.nan) for _ in range(2)]
    params = BackwardParams(inputs=_inputs(case, inputs), prefix_splits=splits)
    elements = dict(zip(WRITTEN, found, strict=True)) | {"output": made.output, "grad": made.grad}
    for name, tensor in elements.items():
        setattr(params, name, tensor.data_ptr())
        setattr(params, f"{name}_strides", Strides.of(tensor))
    params.lse, params.delta = made.lse.data_ptr(), delta.data_ptr()
    params.partial_prefix_key_grad, params.partial_prefix_value_grad = (part.data_ptr() for part in partial)
    bounds = [tensor for tensor in (inputs.starts, inputs.ends) if tensor is not None]
    tensors = [*inputs[:5], *bounds, *elements.values(), made.lse, delta, *partial]
    kernels.emulator.run(launches(kernels, case, params), tensors, schedule)
    for tensor in found:
        beside = tensor.as_strided((tensor.numel() // kernels.head, 8), (kernels.head + 8, 1), kernels.head)
        assert (beside == 7).all(), "written between the rows of a gradient"
    return tuple(found)  # type: ignore[return-value]


def launches(kernels: Kernels, case: Case, params: BackwardParams) -> list[Launch]:
    """All five, as their own comments say."""
    head, group, kv = kernels.head, case.heads // case.kv_heads, case.kv_heads
    resident, streamed, row, scratch = 64, 64 if head == 64 else 32, 2 * head, 0
    if kernels.dtype == torch.float32:
        resident, streamed, row = 32, 16 if head == 128 else 32, 4 * head + 16
        scratch = 128 * (streamed + 4)
    shared = 2 * (resident + 2 * streamed) * row + 16 * streamed + scratch
    grids = {
        "delta": (_parts(case.batch * case.heads * case.queries, 4), 1, 1),
        "query": (_parts(case.queries * group, resident), kv, case.batch),
        "own": (_parts(case.queries + case.earlier, resident), kv, case.batch),
        "prefix": (_parts(case.prefix, resident), kv, params.prefix_splits),
        "reduce": (_parts(kv * case.prefix * head, 512), 2, 1),
    }
    without = ("delta", "reduce")
    return [
        Launch(
            f"shared_prefix_backward_{name}", grid, (THREADS, 1, 1), 0 if name in without else shared, params
        )
        for name, grid in grids.items()
    ]


def build(
    builder: Builder,
    head: int,
    dtype: torch.dtype,
    *,
    kernels: Path | None = None,
    sanitized: bool = False,
) -> Kernels:
    """The five kernels, compiled into one program."""
    return compiled(builder, head, dtype, SOURCES, kernels=kernels, sanitized=sanitized)


def check(
    kernels: Kernels, case: Case, made: Backward, schedule: Schedule = SCHEDULES[0], *, splits: int = SPLITS
) -> Gradients:
    """Every gradient errs at most twice as much as plain PyTorch in the same type, against fp64, and half a
    unit in the last place of what is stored is always allowed; keys that no query sees get zeros."""
    found = run(kernels, case, made, schedule, splits=splits)
    for name, one, exact, plain in zip(WRITTEN, found, made.exact, made.plain, strict=True):
        error, twice = float((one - exact).norm()), 2 * float((plain - exact).norm())
        allowed = max(twice, EPSILON[kernels.dtype] / 2 * float(exact.norm()))
        assert error <= allowed, f"{name} errs by {error:.1e}, not {allowed:.1e}, at {case} under {schedule}"
    if case.padded:
        seen = visible_own(1, made.inputs.key.shape[2], made.inputs.starts, made.inputs.ends, "cpu")[:, 0]
        for name, one in (("key_grad", found[3]), ("value_grad", found[4])):
            unseen = one.masked_select(~seen[:, None, :, None])
            assert (unseen == 0).all(), f"{name} of padding is not zero at {case} under {schedule}"
    return found


def _inputs(case: Case, inputs: Inputs) -> InputParams:
    params = InputParams(
        batch=case.batch,
        heads=case.heads,
        kv_heads=case.kv_heads,
        queries=case.queries,
        prefix=case.prefix,
        own=case.queries + case.earlier,
        scale=inputs.scale,
    )
    for name in (*TENSORS, "starts", "ends"):
        tensor = getattr(inputs, name)
        setattr(params, name, None if tensor is None else tensor.data_ptr())
        if name in TENSORS:
            setattr(params, f"{name}_strides", Strides.of(tensor))
    return params


def _rows_apart(like: Tensor, fill: float) -> Tensor:
    """The same in memory whose rows lie apart, `fill` between them, heads innermost as models have it."""
    if like.ndim == 3:
        return gapped(tuple(like.shape), like.dtype, fill).copy_(like)
    rows = like.transpose(1, 2)
    return gapped(tuple(rows.shape), like.dtype, fill).copy_(rows).transpose(1, 2)


def _parts(whole: int, part: int) -> int:
    return -(-whole // part)
