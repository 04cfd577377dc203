"""The path of CPUs with a C++ compiler: `kernels/shared_prefix.cpp`, one pass over prefix and own keys."""

from __future__ import annotations

import ctypes
from ctypes import c_double, c_int, c_int64, c_void_p
from functools import cache

import torch
from torch import Tensor

from workbench.ops.native import NativeCodeError, load_library
from workbench.ops.shared_prefix.definition import Gradients, Inputs

TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
SIZE_STEP, MOST_SIZE = 16, 256
MOST_THREADS = 256

_Call = c_int64 * (9 + 2 + 13 * 4)
"""The fields of the source's `WorkbenchSharedPrefix`, in their order."""


@cache
def library() -> ctypes.CDLL | str:
    """The compiled code, or the reason why there is none; asked for once in a process."""
    try:
        return compiled()
    except NativeCodeError as error:
        return error.message


def compiled(*flags: str) -> ctypes.CDLL:
    """The code as the compiler makes it with these flags, or `NativeCodeError`."""
    found = load_library("shared_prefix", *flags)
    found.workbench_shared_prefix.argtypes = (c_void_p, c_double, c_int)
    found.workbench_shared_prefix.restype = c_int
    return found


def why_not(inputs: Inputs) -> str | None:
    """What keeps a call on a CPU from this path, in words."""
    query, size = inputs.query, inputs.query.shape[-1]
    if query.dtype not in TYPES:
        return f"no native code for {query.dtype}"
    if size % SIZE_STEP or size > MOST_SIZE:
        return f"native code takes head sizes of multiples of {SIZE_STEP} up to {MOST_SIZE}, not {size}"
    if not inputs.scale > 0:
        return f"native code takes positive scales, not {inputs.scale}"
    found = library()
    return found if isinstance(found, str) else None


def native(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """See `definition`; products of fp16 are of fp32 numbers, sums of all types in fp32."""
    query = inputs.query
    batch, heads, queries, size = query.shape
    output = query.new_empty(batch, queries, heads, size).transpose(1, 2)
    lse = query.new_empty(batch, queries, heads, dtype=torch.float32).transpose(1, 2)
    if query.numel():
        run(inputs, output, lse)
    return output, lse


def native_backward(inputs: Inputs, grad: Tensor, output: Tensor, lse: Tensor) -> Gradients:
    """Gradients of the five tensors, in their order, from that of the output [B, H, S, d]; the same bits
    whatever the number of threads."""
    query, prefix_key, prefix_value, key, value = inputs[:5]
    gradients = (
        _like(query),
        torch.empty_like(prefix_key, memory_format=torch.contiguous_format),
        torch.empty_like(prefix_value, memory_format=torch.contiguous_format),
        _like(key),
        _like(value),
    )
    if query.numel():
        run(inputs, output, lse, grad, gradients)
    else:
        for gradient in gradients:
            gradient.zero_()
    return gradients


def _like(x: Tensor) -> Tensor:
    batch, heads, length, size = x.shape
    return x.new_empty(batch, length, heads, size).transpose(1, 2)


def run(
    inputs: Inputs,
    output: Tensor,
    lse: Tensor,
    grad: Tensor | None = None,
    gradients: tuple[Tensor, ...] = (),
) -> None:
    """Writes what `native` or, with `grad`, `native_backward` answers, into tensors that may be parts of
    larger ones. A prefix of no positions is allowed."""
    found = library()
    if isinstance(found, str):
        raise NativeCodeError(found)
    query, prefix_key, _, key = inputs[:4]
    batch, heads, queries, size = query.shape
    bounds = [None if x is None else x.to(torch.int64).contiguous() for x in inputs[5:7]]
    # Whatever was copied here lives as long as the call: `read` and `bounds` hold it.
    read = [_rows(x) for x in (*inputs[:5], output, *(() if grad is None else (grad,)))]
    views = [_view(read[0]), *map(_prefix_view, read[1:3]), *map(_view, (*read[3:6], lse))]
    if grad is not None:
        of_query, of_prefix_key, of_prefix_value, of_key, of_value = gradients
        views += [_view(read[6]), _view(of_query), _prefix_view(of_prefix_key), _prefix_view(of_prefix_value)]
        views += [_view(of_key), _view(of_value)]
    call = _Call(
        *(batch, heads, len(prefix_key), queries, prefix_key.shape[1], key.shape[2], size),
        *(TYPES[query.dtype], min(torch.get_num_threads(), MOST_THREADS)),
        *(0 if x is None else x.data_ptr() for x in bounds),
        *(number for view in views for number in view),
    )
    if found.workbench_shared_prefix(call, inputs.scale, grad is not None):
        raise MemoryError("no memory, or no thread to be had, for shared-prefix attention")


def _rows(x: Tensor) -> Tensor:
    """With the numbers of a row side by side, as models have them: then nothing is copied."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _view(x: Tensor) -> tuple[int, int, int, int]:
    """Address and strides of [B, heads, n, …]."""
    batch, head, place, *_ = x.stride()
    return x.data_ptr(), batch, head, place


def _prefix_view(x: Tensor) -> tuple[int, int, int, int]:
    """Of [heads, n, d]: there is no batch."""
    head, place, _ = x.stride()
    return x.data_ptr(), 0, head, place
