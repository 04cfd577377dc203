"""Selected log-probabilities as an operator of PyTorch: eager, under autograd, and in compiled graphs."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from workbench.ops.selected_logprobs.definition import Inputs, definition, precise
from workbench.ops.selected_logprobs.paths import GPU_PATHS, PATHS, Name, choose, trains_head


class Selected(NamedTuple):
    """Of each target: its log-probability (fp32, of fp64 fp64), and whether no token has a higher one."""

    logprobs: Tensor
    is_best: Tensor


def selected_logprobs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    *,
    ignore_index: int = -100,
    scale: float = 1.0,
    softcap: float | None = None,
    temperature: float = 1.0,
    path: Name | None = None,
) -> Selected:
    """log softmax(z)[target] at every place, for z = softcap tanh(scale (W h + b) / softcap) / temperature,
    without places × vocabulary logits in memory.

    hidden [..., D]; weight [V, D], bias [V]; targets [...] (int32 or int64). A target of `ignore_index` gives
    0 and no gradient. `scale` multiplies the logits (Cohere; Granite divides); `softcap` is Gemma 2's
    `final_logit_softcapping`. Gradients flow to hidden states, weight and bias as far as they require them.
    Under autocast these three are taken in its type, as `linear` takes them. `path` makes it take one path
    (see `paths.choose`).

    Raises `ValueError` for shapes, types, devices or settings that do not fit each other, and for targets
    outside the vocabulary on a CPU.
    """
    shape = targets.shape
    if hidden.shape[:-1] != shape:
        raise ValueError(f"targets are {list(shape)}, not {list(hidden.shape[:-1])}, as hidden is")
    hidden, weight, bias = _as_autocast(hidden, weight, bias)
    flat = hidden.reshape(-1, hidden.shape[-1]), weight, targets.reshape(-1), bias
    inputs = Inputs(*flat, ignore_index, scale, softcap, temperature)
    _check(inputs)
    name = path or choose(inputs).path
    if name == "definition":
        logprobs, is_best = definition(inputs)
    else:
        needs = hidden.requires_grad and torch.is_grad_enabled()
        wants_slope = (PATHS | GPU_PATHS)[name].has_slope and needs and not trains_head(inputs)
        logprobs, _, is_best, _ = _selected(*inputs, wants_slope, name)
    return Selected(logprobs.reshape(shape), is_best.reshape(shape))


def _as_autocast(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """What `linear` would multiply: backward, where autocast is off, the operator must multiply the same."""
    kind = hidden.device.type
    if not torch.is_autocast_enabled(kind) or hidden.dtype == torch.float64:
        return hidden, weight, bias
    dtype = torch.get_autocast_dtype(kind)
    return hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


def _check(inputs: Inputs) -> None:
    hidden, weight, targets, bias, _, scale, softcap, temperature = inputs
    if weight.ndim != 2 or weight.shape[1] != hidden.shape[1]:
        raise ValueError(f"weight is {list(weight.shape)}, not [V, {hidden.shape[1]}], as hidden is")
    if bias is not None and tuple(bias.shape) != (len(weight),):
        raise ValueError(f"bias is {list(bias.shape)}, not [{len(weight)}], as weight is")
    for name, tensor in {"weight": weight, "bias": bias}.items():
        if tensor is not None and tensor.dtype != hidden.dtype:
            raise ValueError(f"{name} is of {tensor.dtype}, hidden of {hidden.dtype}")
    for name, tensor in {"weight": weight, "bias": bias, "targets": targets}.items():
        if tensor is not None and tensor.device != hidden.device:
            raise ValueError(f"{name} is on {tensor.device}, hidden on {hidden.device}")
    if not hidden.is_floating_point():
        raise ValueError(f"hidden is of {hidden.dtype}, not a floating type")
    if targets.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"targets are of {targets.dtype}, not int32 or int64")
    for name, number in {"scale": scale, "softcap": softcap, "temperature": temperature}.items():
        if number is not None and not number > 0:
            raise ValueError(f"{name} is {number}, not above 0")
    if targets.device.type == "cpu" and not torch.compiler.is_compiling():
        _check_targets(inputs)


def _check_targets(inputs: Inputs) -> None:
    kept = inputs.targets[inputs.targets != inputs.ignore_index]
    if kept.numel():
        least, most = (int(x) for x in kept.aminmax())
        if least < 0 or most >= len(inputs.weight):
            wrong = least if least < 0 else most
            raise ValueError(
                f"a target is {wrong}, outside 0 to {len(inputs.weight) - 1} and not {inputs.ignore_index}"
            )


INPUTS = (
    "Tensor hidden, Tensor weight, Tensor targets, Tensor? bias, int ignore_index, float scale, "
    "float? softcap, float temperature"
)


@torch.library.custom_op(
    "workbench::selected_logprobs",
    mutates_args=(),
    schema=f"({INPUTS}, bool wants_slope, str path) -> (Tensor, Tensor, Tensor, Tensor)",
)
def _selected(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    *parts, wants_slope, name = args
    path: Name = name
    return (PATHS | GPU_PATHS)[path].forward(Inputs(*parts), wants_slope)


@torch.library.custom_op(
    "workbench::selected_logprobs_backward",
    mutates_args=(),
    schema=f"({INPUTS}, Tensor grad, Tensor logprobs, Tensor lse, bool wants_hidden, bool wants_head, "
    "str path) -> (Tensor, Tensor, Tensor)",
)
def _selected_backward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    *parts, grad, logprobs, lse, wants_hidden, wants_head, name = args
    path: Name = name
    return (PATHS | GPU_PATHS)[path].backward(Inputs(*parts), grad, logprobs, lse, wants_hidden, wants_head)


@_selected.register_fake
def _(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    hidden, wants_slope = args[0], args[-2]
    count, wide = len(hidden), precise(hidden.dtype)
    slope = hidden.new_empty(hidden.shape if wants_slope else (0,), dtype=wide)
    one, other = (hidden.new_empty(count, dtype=wide) for _ in range(2))
    return one, other, hidden.new_empty(count, dtype=torch.bool), slope


@_selected_backward.register_fake
def _(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    (hidden, weight, _, bias), (wants_hidden, wants_head) = args[:4], args[-3:-1]
    return (
        hidden.new_empty(hidden.shape if wants_hidden else (0,)),
        weight.new_empty(weight.shape if wants_head else (0,)),
        weight.new_empty(len(weight) if wants_head and bias is not None else 0),
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:4], output[0], output[1], output[3])
    ctx.settings, ctx.has_slope, ctx.path = inputs[4:8], inputs[8], inputs[9]
    ctx.mark_non_differentiable(*output[1:])


def _gradients(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    *tensors, logprobs, lse, slope = ctx.saved_tensors
    hidden, _, _, bias = tensors
    of_hidden: Tensor | None = None
    if ctx.has_slope:
        of_hidden = (slope * grad[:, None]).to(hidden.dtype)
    wants_hidden = ctx.needs_input_grad[0] and not ctx.has_slope
    wants_head = ctx.needs_input_grad[1] or ctx.needs_input_grad[3]
    of_weight: Tensor | None = None
    of_bias: Tensor | None = None
    if wants_hidden or wants_head:
        flags = wants_hidden, wants_head, ctx.path
        found = _selected_backward(*tensors, *ctx.settings, grad, logprobs, lse, *flags)
        of_hidden = found[0] if wants_hidden else of_hidden
        of_weight, of_bias = found[1:] if wants_head else (None, None)
    return of_hidden, of_weight, None, of_bias if bias is not None else None, *[None] * 6


_selected.register_autograd(_gradients, setup_context=_keep)
