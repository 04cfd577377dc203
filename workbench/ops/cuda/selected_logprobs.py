"""Launches of the selected log-probabilities kernels, as kernels/cuda/selected_logprobs_params.h has them."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int, c_longlong, c_void_p

import torch
from torch import Tensor

from workbench.ops.cuda.kernel import Kernel, Launch
from workbench.ops.selected_logprobs.definition import Inputs

TYPES = {torch.bfloat16: "DTYPE_BF16", torch.float16: "DTYPE_FP16", torch.float32: "DTYPE_FP32"}
PLACES, COLUMNS, THREADS = 128, 128, 256
FORWARD_BYTES, BACKWARD_BYTES = 100_352, 98_304


class InputParams(ctypes.Structure):
    """`SelectedLogprobsInputs`."""

    _fields_ = [
        *((name, c_void_p) for name in ("hidden", "weight", "bias", "targets")),
        *((name, c_longlong) for name in ("hidden_stride", "weight_stride", "ignore_index")),
        *((name, c_int) for name in ("places", "vocabulary", "size")),
        *((name, c_float) for name in ("inner", "outer")),
    ]


class ForwardParams(ctypes.Structure):
    """`SelectedLogprobsParams`."""

    _fields_ = [
        ("inputs", InputParams),
        *((name, c_void_p) for name in ("target_logit", "partial_most", "partial_total")),
        *((name, c_void_p) for name in ("logprobs", "lse", "is_best")),
        ("splits", c_int),
    ]


class BackwardParams(ctypes.Structure):
    """`SelectedLogprobsBackwardParams`."""

    _fields_ = [
        ("inputs", InputParams),
        *((name, c_void_p) for name in ("grad", "logprobs", "lse", "logit_grad")),
        ("logit_grad_stride", c_longlong),
        *((name, c_int) for name in ("first", "columns")),
    ]


def unsupported(inputs: Inputs) -> str | None:
    """Why the kernels do not take a call, in words; None where they do."""
    if inputs.hidden.dtype not in TYPES:
        return f"the kernels are for bf16, fp16 and fp32, not {inputs.hidden.dtype}"
    piece = 16 // inputs.hidden.element_size()
    if inputs.hidden.shape[1] % piece:
        return f"hidden states of {inputs.hidden.shape[1]} are no multiple of {piece}"
    return None


def forward_splits(inputs: Inputs, multiprocessors: int) -> int:
    """Parts of the vocabulary, for two blocks a multiprocessor."""
    wanted = -(-2 * multiprocessors // -(-len(inputs.hidden) // PLACES))
    return max(1, min(wanted, -(-len(inputs.weight) // COLUMNS), 65_535))


def forward_launches(
    inputs: Inputs,
    logprobs: Tensor,
    lse: Tensor,
    is_best: Tensor,
    target_logit: Tensor,
    partials: tuple[Tensor, Tensor],
) -> list[Launch]:
    """Write `logprobs`, `lse`, `target_logit` [N] (fp32), `is_best` [N] (bool); `partials`: [splits, N]."""
    params = ForwardParams(
        _inputs(inputs),
        target_logit.data_ptr(),
        *(part.data_ptr() for part in (*partials, logprobs, lse, is_best)),
        len(partials[0]),
    )
    tiles, parameters = -(-len(inputs.hidden) // PLACES), (bytes(params),)
    return [
        Launch(
            _kernel(inputs, "selected_logprobs_forward"),
            (tiles, len(partials[0]), 1),
            (THREADS, 1, 1),
            FORWARD_BYTES,
            parameters,
        ),
        Launch(_kernel(inputs, "selected_logprobs_combine"), (tiles, 1, 1), (128, 1, 1), 0, parameters),
    ]


def backward_launches(
    inputs: Inputs, grad: Tensor, logprobs: Tensor, lse: Tensor, logit_grad: Tensor, first: int
) -> list[Launch]:
    """Writes gradients of the logits from column `first` on: `logit_grad` [N, columns]."""
    params = BackwardParams(
        _inputs(inputs),
        *(one.data_ptr() for one in (grad, logprobs, lse, logit_grad)),
        logit_grad.stride(0),
        first,
        logit_grad.shape[1],
    )
    grid = (-(-len(inputs.hidden) // PLACES), -(-logit_grad.shape[1] // COLUMNS), 1)
    kernel = _kernel(inputs, "selected_logprobs_backward")
    return [Launch(kernel, grid, (THREADS, 1, 1), BACKWARD_BYTES, (bytes(params),))]


def _kernel(inputs: Inputs, name: str) -> Kernel:
    capped = () if inputs.softcap is None else ("-DSOFTCAP",)
    return Kernel(f"{name}.cu", name, (f"-D{TYPES[inputs.hidden.dtype]}", *capped))


def _inputs(inputs: Inputs) -> InputParams:
    hidden, weight, targets, bias, ignore_index, scale, softcap, temperature = inputs
    inner = 1.0 if softcap is None else scale / softcap
    outer = (scale if softcap is None else softcap) / temperature
    return InputParams(
        hidden.data_ptr(),
        weight.data_ptr(),
        None if bias is None else bias.data_ptr(),
        targets.data_ptr(),
        hidden.stride(0),
        weight.stride(0),
        ignore_index,
        len(hidden),
        *weight.shape,
        inner,
        outer,
    )
