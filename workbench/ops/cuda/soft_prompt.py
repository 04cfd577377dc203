"""Launches of the soft-prompt embedding kernels, as kernels/cuda/soft_prompt_embedding_params.h has them."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int, c_longlong, c_void_p

import torch
from torch import Tensor

from workbench.ops.cuda.kernel import Kernel, Launch

TYPES = {torch.bfloat16: "DTYPE_BF16", torch.float16: "DTYPE_FP16", torch.float32: "DTYPE_FP32"}
THREADS, ROWS = 128, 4


class EmbeddingParams(ctypes.Structure):
    """`SoftPromptEmbeddingParams`."""

    _fields_ = [
        *((name, c_void_p) for name in ("table", "ids", "prompt", "index", "output")),
        *((name, c_longlong) for name in ("vocabulary", "prompts")),
        *((name, c_int) for name in ("batch", "tokens", "virtual_tokens", "size")),
        ("scale", c_float),
    ]


class EmbeddingBackwardParams(ctypes.Structure):
    """`SoftPromptEmbeddingBackwardParams`."""

    _fields_ = [
        *((name, c_void_p) for name in ("grad", "index", "prompt_grad")),
        *((name, c_int) for name in ("batch", "tokens", "virtual_tokens", "prompts", "size")),
    ]


def unsupported(table: Tensor, prompt: Tensor) -> str | None:
    """Why the kernels do not take a call, in words; None where they do."""
    if table.dtype not in TYPES:
        return f"the kernels are for bf16, fp16 and fp32, not {table.dtype}"
    if prompt.dtype not in (table.dtype, torch.float32):
        return f"the kernels take a prompt of {table.dtype} or fp32, not {prompt.dtype}"
    piece = 16 // table.element_size()
    if table.shape[1] % piece:
        return f"embeddings of {table.shape[1]} are no multiple of {piece}"
    return None


def embedding_launches(
    ids: Tensor, table: Tensor, prompt: Tensor, index: Tensor | None, scale: float | None, output: Tensor
) -> list[Launch]:
    """Writes `output` [B, P + T, D]; ids [B, T] and index [B] are int64, all are contiguous."""
    (batch, tokens), (virtual, size) = ids.shape, prompt.shape[-2:]
    params = EmbeddingParams(
        table.data_ptr(),
        ids.data_ptr(),
        prompt.data_ptr(),
        None if index is None else index.data_ptr(),
        output.data_ptr(),
        len(table),
        len(prompt) if prompt.ndim == 3 else 1,
        *(batch, tokens, virtual, size),
        1.0 if scale is None else scale,
    )
    kernel = Kernel("soft_prompt_embedding.cu", "soft_prompt_embedding", _options(table.dtype, prompt.dtype))
    grid = (-(-batch * (virtual + tokens) // ROWS), 1, 1)
    return [Launch(kernel, grid, (THREADS, 1, 1), 0, (bytes(params),))]


def embedding_backward_launches(grad: Tensor, index: Tensor | None, prompt_grad: Tensor) -> list[Launch]:
    """Writes `prompt_grad` [N, P, D] or [P, D] from that of the output [B, P + T, D], all contiguous."""
    virtual, size = prompt_grad.shape[-2:]
    prompts = len(prompt_grad) if prompt_grad.ndim == 3 else 1
    params = EmbeddingBackwardParams(
        grad.data_ptr(),
        None if index is None else index.data_ptr(),
        prompt_grad.data_ptr(),
        *(len(grad), grad.shape[1] - virtual, virtual, prompts, size),
    )
    options = _options(grad.dtype, prompt_grad.dtype)
    kernel = Kernel("soft_prompt_embedding_backward.cu", "soft_prompt_embedding_backward", options)
    each = THREADS * (16 // grad.element_size())
    return [Launch(kernel, (-(-virtual * size // each), prompts, 1), (THREADS, 1, 1), 0, (bytes(params),))]


def _options(dtype: torch.dtype, prompt: torch.dtype) -> tuple[str, ...]:
    return (f"-D{TYPES[dtype]}", *(("-DPROMPT_FP32",) if prompt == torch.float32 else ()))
