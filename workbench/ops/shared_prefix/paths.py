"""The ways there are to compute shared-prefix attention, and which of them a call takes, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor

from workbench.ops.cuda import shared_prefix_choice
from workbench.ops.cuda.shared_prefix_path import cuda_backward, cuda_forward
from workbench.ops.shared_prefix.composed import composed, composed_backward
from workbench.ops.shared_prefix.concatenated import concatenated, concatenated_backward
from workbench.ops.shared_prefix.definition import (
    Gradients,
    Inputs,
    definition,
    definition_backward,
)
from workbench.ops.shared_prefix.native import native, native_backward, why_not

Name = Literal["cuda", "native", "composed", "concatenated", "definition"]
FLASH_TYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


@dataclass(frozen=True)
class Path:
    """Forward (output and log-sum-exp) and backward of one way; backward takes the gradient of the output,
    the output and the log-sum-exp as well."""

    forward: Callable[[Inputs], tuple[Tensor, Tensor]]
    backward: Callable[[Inputs, Tensor, Tensor, Tensor], Gradients]


@dataclass(frozen=True)
class Choice:
    """The path that a call takes, and the reason in words."""

    path: Name
    reason: str


NATIVE = Choice("native", "compiled for this processor: one pass over prefix and own keys at every length")
"""Measured on a CPU with AVX512, fp32 and bf16, 16 rows, 9 query heads on 3 of 64: prefixes of 20 to 2,048
positions before 64 (one query, forward) or 64 and 256 own ones (forward and backward). The next best path
takes 1.3 to 2.5 times as long in fp32, 3 to 14 times in bf16."""


PATHS: dict[Name, Path] = {
    "native": Path(native, native_backward),
    "composed": Path(composed, composed_backward),
    "concatenated": Path(concatenated, concatenated_backward),
    "definition": Path(definition, definition_backward),
}

GPU_PATHS: dict[Name, Path] = {"cuda": Path(cuda_forward, cuda_backward)}
"""Those that take no tensors of a CPU."""


def choose(inputs: Inputs) -> Choice:
    """What a call with tensors of these shapes, type and device takes."""
    query = inputs.query
    if query.device.type == "cuda":
        path, told = shared_prefix_choice.choose(inputs)
        return Choice(cast(Name, path), told)
    if query.device.type != "cpu":
        return Choice("definition", f"no fused path for {query.device.type}")
    if query.dtype not in FLASH_TYPES:
        return Choice("definition", f"PyTorch's flash attention has no {query.dtype}")
    obstacle = why_not(inputs)
    if obstacle is None:
        return NATIVE
    prefix, own = inputs.prefix_key.shape[1], inputs.key.shape[2]
    least = shortest_composed(query.dtype, query.shape[2])
    if prefix < least:
        reason = f"a prefix of {prefix} is shorter than {least}: a copy costs less"
        return Choice("concatenated", f"{reason}; {obstacle}")
    reason = f"a prefix of {prefix} before {own} own positions is read once for all rows"
    return Choice("composed", f"{reason}; {obstacle}")


def shortest_composed(dtype: torch.dtype, queries: int) -> int:
    """From which length of the prefix on two attentions and a merge beat one over a copy.

    Measured on a CPU with AVX512, forward and backward, 16 rows, 9 query heads on 3 of 64.
    """
    if queries == 1:
        return 1
    if dtype in (torch.float32, torch.float64):
        return 128
    return 256 if queries <= 64 else 512
