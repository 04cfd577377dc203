"""The number formats that weights can be written in."""

from __future__ import annotations

import torch

from workbench.errors import ModelError, UsageError

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
"""Of safetensors; GGUF has `Q8_0` besides."""
Q8_0 = "q8_0"
"""Blocks of 32 numbers, each of 8 bits, with one scale in fp16: 8.5 bits a number (ggml)."""
WORDS = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}
LARGEST_F16 = 65504.0


def dtype_named(name: str, stored: torch.dtype, *, quantized: bool) -> str:
    """The name of the format that is meant: `auto` is that in which the weights are stored.

    Raises `UsageError` where there is no such format, or not where `quantized` ones cannot be.
    """
    if name == "auto":
        return WORDS.get(stored, "f32")
    known = [*DTYPES, Q8_0] if quantized else [*DTYPES]
    if name in known:
        return name
    what = "is for GGUF files alone" if name == Q8_0 else "is not known"
    raise UsageError(
        f"the number format {name} {what}", where="--dtype", hint=f"one of auto, {', '.join(known)}"
    )


def converted(tensor: torch.Tensor, dtype: str, name: str) -> torch.Tensor:
    """The tensor in another format; what is no floating-point number stays as it is.

    Raises `ModelError` where the numbers of `name` do not fit into fp16.
    """
    if not tensor.is_floating_point() or tensor.dtype == DTYPES[dtype]:
        return tensor
    result = tensor.to(DTYPES[dtype])
    if dtype == "f16" and not bool(result.isfinite().all()) and bool(tensor.isfinite().all()):
        raise ModelError(
            f"{name} holds numbers above {LARGEST_F16:,.0f}, the largest of fp16",
            where="--dtype f16",
            hint="take bf16",
        )
    return result
