"""The kernels of selected log-probabilities on the CPU: cases, launches, and what should come out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from kernel_emulator import SCHEDULES, Builder, Emulator, Launch, Schedule
from torch import Tensor
from torch.nn.functional import linear

from workbench.ops.cuda.selected_logprobs import BackwardParams, ForwardParams, InputParams
from workbench.ops.selected_logprobs.definition import Inputs, definition

NAMES = {torch.bfloat16: "DTYPE_BF16", torch.float16: "DTYPE_FP16", torch.float32: "DTYPE_FP32"}
SOURCES = ("selected_logprobs_forward.cu", "selected_logprobs_combine.cu", "selected_logprobs_backward.cu")
PLACES, COLUMNS, THREADS, TILE_BYTES = 128, 128, 256, 98304
GAP = 8  # elements between the rows of hidden states, weights and gradients, which nobody may read or write


FORWARD = ("target_logit", "partial_most", "partial_total", "logprobs", "lse", "is_best")


@dataclass(frozen=True)
class Case:
    """Shapes of a call, and the parts of the vocabulary (forward) and its blocks (backward) it is done in."""

    places: int
    vocabulary: int
    size: int
    splits: int = 1
    blocks: int = 1
    softcap: float | None = None
    has_bias: bool = False


class Results(NamedTuple):
    """log p [N], log-sum-exp [N], whether the target is best [N], gradients of w h + b [N, V]."""

    logprobs: Tensor
    lse: Tensor
    is_best: Tensor
    logit_grad: Tensor


class Made(NamedTuple):
    """A case's inputs, the gradient of its log-probabilities, what is to come out in fp64, and what plain
    PyTorch makes of it in the inputs' own type."""

    inputs: Inputs
    grad: Tensor
    exact: Results
    plain: Results


def compiled(
    builder: Builder,
    case: Case,
    dtype: torch.dtype,
    *,
    kernels: Path | None = None,
    sanitized: bool = False,
) -> Emulator:
    return builder.build(SOURCES, definitions(case, dtype), kernels=kernels, sanitized=sanitized)


def definitions(case: Case, dtype: torch.dtype) -> list[str]:
    """The macros that choose a variant."""
    return [NAMES[dtype], *([] if case.softcap is None else ["SOFTCAP"])]


def make(case: Case, dtype: torch.dtype) -> Made:
    """Random inputs in memory that is NaN between their rows; a fifth of the targets is ignored, and the
    first place is nearly certain of its target."""
    generator = torch.Generator().manual_seed(case.places * 1000 + case.vocabulary)
    weight = torch.randn(case.vocabulary, case.size, generator=generator) / case.size**0.5
    hidden = torch.randn(case.places, case.size, generator=generator)
    targets = torch.randint(0, case.vocabulary, (case.places,), generator=generator)
    hidden[0] = 9 * weight[targets[0]]
    targets[2::5] = -100
    bias = torch.randn(case.vocabulary, generator=generator).to(dtype) if case.has_bias else None
    cap = case.softcap
    rest = (targets, bias, -100, 0.5, cap, 0.7) if cap else (targets, bias, -100, 1.0, None, 1.0)
    inputs = Inputs(gapped(hidden, dtype), gapped(weight, dtype), *rest)
    grad = torch.randn(case.places, generator=generator)
    wide = inputs._replace(
        hidden=inputs.hidden.double(),
        weight=inputs.weight.double(),
        bias=None if bias is None else bias.double(),
    )
    return Made(inputs, grad, expected(wide, grad), expected(inputs, grad))


def gapped(values: Tensor, dtype: torch.dtype) -> Tensor:
    """The same in rows that lie `GAP` elements apart."""
    room = torch.full((len(values), values.shape[1] + GAP), torch.nan, dtype=dtype)
    return room[:, : values.shape[1]].copy_(values)


def expected(inputs: Inputs, grad: Tensor) -> Results:
    """By the definition and autograd, from logits in the inputs' type."""
    raw = linear(inputs.hidden, inputs.weight, inputs.bias).requires_grad_()
    # The logits as hidden states of a head that leaves them as they are.
    same = torch.eye(raw.shape[1], dtype=raw.dtype)
    logprobs, is_best = definition(inputs._replace(hidden=raw, weight=same, bias=None))
    (logit_grad,) = torch.autograd.grad(logprobs, raw, grad.to(logprobs.dtype))
    kept = inputs.targets != inputs.ignore_index
    logits = raw.detach().to(logprobs.dtype)
    lse = scaled(inputs, logits).logsumexp(1).where(kept, 0.0)
    return Results(logprobs.detach(), lse, is_best, logit_grad)


def scaled(inputs: Inputs, logits: Tensor) -> Tensor:
    if inputs.softcap is None:
        return logits * inputs.scale / inputs.temperature
    return (logits * inputs.scale / inputs.softcap).tanh() * inputs.softcap / inputs.temperature


def input_params(inputs: Inputs) -> InputParams:
    cap = inputs.softcap
    return InputParams(
        hidden=inputs.hidden.data_ptr(),
        weight=inputs.weight.data_ptr(),
        bias=None if inputs.bias is None else inputs.bias.data_ptr(),
        targets=inputs.targets.data_ptr(),
        hidden_stride=inputs.hidden.stride(0),
        weight_stride=inputs.weight.stride(0),
        ignore_index=inputs.ignore_index,
        places=len(inputs.hidden),
        vocabulary=len(inputs.weight),
        size=inputs.hidden.shape[1],
        inner=1.0 if cap is None else inputs.scale / cap,
        outer=(inputs.scale if cap is None else cap) / inputs.temperature,
    )


def run(kernels: Emulator, case: Case, made: Made, schedule: Schedule = SCHEDULES[0]) -> Results:
    """What the three kernels make of a case; all that they write is NaN (or true) before."""
    inputs, count, splits = made.inputs, case.places, case.splits
    empty = [torch.full(shape, torch.nan) for shape in ((count,), (splits, count), (splits, count))]
    logprobs, lse = torch.full((count,), torch.nan), torch.full((count,), torch.nan)
    is_best = torch.ones(count, dtype=torch.bool)
    written = dict(zip(FORWARD, [*empty, logprobs, lse, is_best], strict=True))
    pointers = {name: tensor.data_ptr() for name, tensor in written.items()}
    forward = ForwardParams(inputs=input_params(inputs), splits=splits, **pointers)
    rows = -(-count // PLACES)
    launches = [
        Launch(
            "selected_logprobs_forward",
            (rows, splits, 1),
            (THREADS, 1, 1),
            TILE_BYTES + PLACES * 16,
            forward,
        ),
        Launch("selected_logprobs_combine", (rows, 1, 1), (128, 1, 1), 0, forward),
    ]
    width = -(-case.vocabulary // case.blocks)
    width += width % 2
    logit_grads = [
        gapped(torch.full((count, width), torch.nan), inputs.hidden.dtype) for _ in range(case.blocks)
    ]
    for block, logit_grad in enumerate(logit_grads):
        backward = BackwardParams(
            inputs=input_params(inputs),
            grad=made.grad.data_ptr(),
            logprobs=logprobs.data_ptr(),
            lse=lse.data_ptr(),
            logit_grad=logit_grad.data_ptr(),
            logit_grad_stride=logit_grad.stride(0),
            first=block * width,
            columns=width,
        )
        grid = rows, -(-width // COLUMNS), 1
        launches.append(Launch("selected_logprobs_backward", grid, (THREADS, 1, 1), TILE_BYTES, backward))
    read = [inputs.hidden, inputs.weight, inputs.targets, made.grad]
    tensors = [*read, *written.values(), *logit_grads, *([] if inputs.bias is None else [inputs.bias])]
    kernels.run(launches, tensors, schedule)
    together = torch.cat(logit_grads, 1)
    assert not together[:, case.vocabulary :].any()
    return Results(logprobs, lse, is_best, together[:, : case.vocabulary])


def errors(found: Results, made: Made) -> list[str]:
    """What is further from fp64 than plain PyTorch twice over, or than a few roundings of fp32 where that is
    exact; and a place that is said to be best, or not, where the logits are clearly otherwise."""
    wrong = []
    for name in ("logprobs", "lse", "logit_grad"):
        exact = getattr(made.exact, name)
        one, other = (float((getattr(x, name).double() - exact).norm()) for x in (found, made.plain))
        size = float(made.exact.lse.norm()) if name != "logit_grad" else float(exact.norm())
        if not one <= 2 * other + 8 * 2.0**-23 * size:  # NaN, too
            wrong.append(f"{name} is {one} from fp64, plain PyTorch {other}")
    if (found.is_best != made.exact.is_best).sum() > (made.plain.is_best != made.exact.is_best).sum():
        wrong.append("is_best")
    return wrong
