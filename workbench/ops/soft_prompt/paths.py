"""The ways there are to embed tokens behind a soft prompt, and which of them a call takes, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor

from workbench.ops.cuda import soft_prompt_choice
from workbench.ops.cuda.soft_prompt_path import cuda_backward, cuda_forward
from workbench.ops.soft_prompt.composed import composed, composed_gradient
from workbench.ops.soft_prompt.definition import Inputs

Name = Literal["cuda", "composed", "definition"]

LEAST_BYTES = 16 << 20
"""From so many bytes of token embeddings on, writing them once beats writing and concatenating them: 1.8 × at
134 MB, forward and backward, one CPU thread; 0.4 × at 1 token."""


@dataclass(frozen=True)
class Path:
    """Forward of one way; backward takes the gradient of the output, the prompt and the index."""

    forward: Callable[[Inputs], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Choice:
    """The path that a call takes, and the reason in words."""

    path: Name
    reason: str


PATHS: dict[Name, Path] = {"composed": Path(composed, composed_gradient)}
"""Those that are kernels of the operator; the definition is left to autograd."""
GPU_PATHS: dict[Name, Path] = {"cuda": Path(cuda_forward, cuda_backward)}
"""Those that take no tensors of a CPU."""


def choose(inputs: Inputs) -> Choice:
    """What a call with tensors of these shapes, type and device takes."""
    if inputs.table.requires_grad and torch.is_grad_enabled():
        return Choice("definition", "the table is trained too, which the operator has no gradient for")
    if inputs.table.device.type == "cuda":
        path, reason = soft_prompt_choice.choose(inputs)
        return Choice(cast(Name, path), reason)
    if inputs.table.device.type != "cpu":
        return Choice("definition", f"no fused path for {inputs.table.device.type}")
    size = inputs.ids.numel() * inputs.table.shape[1] * inputs.table.element_size()
    if size < LEAST_BYTES:
        return Choice("definition", f"{size} bytes of token embeddings cost less to copy than to place")
    return Choice("composed", f"{size} bytes of token embeddings are written once, to their places")
