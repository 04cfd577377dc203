"""The ways there are to compute shared-prefix attention, and which of them a call takes, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from workbench.ops.shared_prefix.composed import composed, composed_backward
from workbench.ops.shared_prefix.concatenated import concatenated, concatenated_backward
from workbench.ops.shared_prefix.definition import (
    Gradients,
    Inputs,
    definition,
    definition_backward,
)

Name = Literal["composed", "concatenated", "definition"]
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


PATHS: dict[Name, Path] = {
    "composed": Path(composed, composed_backward),
    "concatenated": Path(concatenated, concatenated_backward),
    "definition": Path(definition, definition_backward),
}


def choose(inputs: Inputs) -> Choice:
    """What a call with tensors of these shapes, type and device takes."""
    query = inputs.query
    if query.device.type != "cpu":
        return Choice("definition", f"no fused path for {query.device.type} yet")
    if query.dtype not in FLASH_TYPES:
        return Choice("definition", f"PyTorch's flash attention has no {query.dtype}")
    prefix, own = inputs.prefix_key.shape[1], inputs.key.shape[2]
    least = shortest_composed(query.dtype, query.shape[2])
    if prefix < least:
        return Choice("concatenated", f"a prefix of {prefix} is shorter than {least}: a copy costs less")
    return Choice("composed", f"a prefix of {prefix} before {own} own positions is read once for all rows")


def shortest_composed(dtype: torch.dtype, queries: int) -> int:
    """From which length of the prefix on two attentions and a merge beat one over a copy.

    Measured on a CPU with AVX512, forward and backward, 16 rows, 9 query heads on 3 of 64.
    """
    if queries == 1:
        return 1
    if dtype in (torch.float32, torch.float64):
        return 128
    return 256 if queries <= 64 else 512
