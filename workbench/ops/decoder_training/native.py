"""The element-wise parts, `kernels/decoder_training.cpp`, behind ctypes.

Letters: N rows (places of all rows of a batch), D size of the hidden states, V size of the vocabulary.
Tensors are contiguous, on the CPU; activations fp32 or bf16 ("the type"), everything else fp32.
"""

from __future__ import annotations

import ctypes
from ctypes import c_double, c_int, c_int64, c_void_p
from functools import cache

import torch
from torch import Tensor

from workbench.ops.native import NativeCodeError, load_library

TYPES = {torch.float32: 0, torch.bfloat16: 1}
WIDTH_STEP = 16
"""Widths of rows are multiples of it, but for logits."""
MOST_THREADS = 256
_FUNCTIONS = {
    "norm": [*[c_int64] * 4, c_double, *[c_void_p] * 5],
    "norm_backward": [*[c_int64] * 4, c_double, *[c_void_p] * 8],
    "rope": [*[c_int64] * 6, *[c_void_p] * 3, c_int],
    "swiglu": [*[c_int64] * 4, *[c_void_p] * 6],
    "cross_entropy": [*[c_int64] * 4, *[c_void_p] * 4, c_int],
}


@cache
def library() -> ctypes.CDLL | str:
    """The compiled code, or the reason why there is none; asked for once in a process."""
    try:
        return compiled()
    except NativeCodeError as error:
        return error.message


def compiled(*flags: str) -> ctypes.CDLL:
    """The code as the compiler makes it with these flags, or `NativeCodeError`."""
    found = load_library("decoder_training", *flags)
    for name, types in _FUNCTIONS.items():
        function = getattr(found, f"workbench_{name}")
        function.argtypes, function.restype = types, c_int
    return found


def add_norm(
    x: Tensor, added: Tensor | None, weight: Tensor, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """x + added [N, D] (fp32; x itself where nothing is added), and its RMS norm times weight, in `dtype`."""
    total = x if added is None else torch.empty_like(x)
    out = torch.empty_like(x, dtype=dtype)
    _call("norm", dtype, *x.shape, eps, x, added, total, weight, out)
    return total, out


def add(x: Tensor, added: Tensor) -> Tensor:
    """x + added [N, D] in fp32, `added` of the type."""
    total = torch.empty_like(x)
    _call("norm", added.dtype, *x.shape, 0.0, x, added, total, None, None)
    return total


def norm_backward(
    x: Tensor, weight: Tensor, eps: float, grads: list[Tensor], residual: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of x [N, D] and weight [D] from those of the norm, one to three to be added [N, D], and that
    of x by other ways, `residual` [N, D]."""
    of_x, of_weight = torch.empty_like(x), torch.empty_like(weight)
    three = [*grads, None, None][:3]
    _call("norm_backward", grads[0].dtype, *x.shape, eps, x, weight, *three, residual, of_x, of_weight)
    return of_x, of_weight


def rotate(x: Tensor, cos: Tensor, sin: Tensor, *, backward: bool = False) -> None:
    """Turns heads x [N, heads, d] in place by the angles [M, d], row n by those of row n mod M."""
    _call("rope", x.dtype, *x.shape, len(cos), x, cos, sin, backward)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) up, each [N, I]."""
    act = torch.empty_like(gate)
    _call("swiglu", gate.dtype, *gate.shape, gate, up, act, None, None, None)
    return act


def swiglu_backward(gate: Tensor, up: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of gate and up from that of silu(gate) up, and this product once more, each [N, I]."""
    of_gate, of_up, act = torch.empty_like(gate), torch.empty_like(gate), torch.empty_like(gate)
    _call("swiglu", gate.dtype, *gate.shape, gate, up, act, grad, of_gate, of_up)
    return of_gate, of_up, act


def cross_entropy_(logits: Tensor, targets: Tensor, *, gradient: bool) -> tuple[Tensor, Tensor]:
    """Loss [N] and whether the target is best [N] (bool) of logits [N, V]; where `gradient`, the gradient of
    the summed loss is where the logits were. A negative target has no loss and no gradient."""
    losses = logits.new_empty(len(logits), dtype=torch.float32)
    is_best = logits.new_empty(len(logits), dtype=torch.bool)
    _call("cross_entropy", logits.dtype, *logits.shape, targets, logits, losses, is_best, gradient)
    return losses, is_best


def _call(name: str, dtype: torch.dtype, *given: Tensor | float | None) -> None:
    found = library()
    if isinstance(found, str):
        raise NativeCodeError(found)
    assert all(x.is_contiguous() for x in given if isinstance(x, Tensor)), name
    threads = min(torch.get_num_threads(), MOST_THREADS)
    addresses = [x.data_ptr() if isinstance(x, Tensor) else x for x in given]
    if getattr(found, f"workbench_{name}")(TYPES[dtype], threads, *addresses):
        raise MemoryError("no memory, or no thread to be had, for a step of training")
