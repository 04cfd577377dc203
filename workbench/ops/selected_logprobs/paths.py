"""The ways there are to compute selected log-probabilities, and which of them a call takes, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor

from workbench.ops.cuda import selected_logprobs_choice
from workbench.ops.cuda.selected_logprobs_path import cuda_backward, cuda_forward
from workbench.ops.selected_logprobs.chunked import Found, Gradients, chunked, chunked_backward
from workbench.ops.selected_logprobs.definition import Inputs

Name = Literal["cuda", "chunked", "definition"]

LEAST_LOGITS = 1 << 20
"""Up to so many logits, all of them at once are as fast as one block, and need no operator."""
LEAST_TRAINED = {torch.bfloat16: 1 << 22, torch.float16: 1 << 22}
OTHER_TRAINED = 1 << 26
"""The same where the head is trained, whose logits the blocks compute twice. That costs less than making and
reading all of them in bf16 (1.3 × the speed at 512 and 2,048 places of 49,152 tokens, 0.8 × at 32), but not
where products in fp32 are most of it (0.8 to 0.9 ×): there blocks are for memory, from 256 MiB of logits on
(1,152 → 126 MiB at 2,048 places)."""


@dataclass(frozen=True)
class Path:
    """Forward of one way, told whether d log p / d hidden is wanted; backward takes the gradient of the
    log-probabilities, these, the log-sum-exps, and whether gradients of hidden states and head are wanted."""

    forward: Callable[[Inputs, bool], Found]
    backward: Callable[[Inputs, Tensor, Tensor, Tensor, bool, bool], Gradients]
    has_slope: bool


@dataclass(frozen=True)
class Choice:
    """The path that a call takes, and the reason in words."""

    path: Name
    reason: str


PATHS: dict[Name, Path] = {"chunked": Path(chunked, chunked_backward, has_slope=True)}
"""Those that are kernels of the operator; the definition is left to autograd."""
GPU_PATHS: dict[Name, Path] = {"cuda": Path(cuda_forward, cuda_backward, has_slope=False)}
"""Those that take no tensors of a CPU."""


def choose(inputs: Inputs) -> Choice:
    """What a call with tensors of these shapes, type and device takes."""
    logits = len(inputs.hidden) * len(inputs.weight)
    least = LEAST_LOGITS
    if trains_head(inputs):
        least = LEAST_TRAINED.get(inputs.hidden.dtype, OTHER_TRAINED)
    if logits <= least:
        return Choice("definition", f"{logits} logits are no more than {least}: all of them at once")
    if inputs.hidden.device.type == "cuda":
        path, reason = selected_logprobs_choice.choose(inputs, trains_head(inputs))
        return Choice(cast(Name, path), reason)
    return Choice("chunked", f"{logits} logits are never in memory at once: blocks of the vocabulary")


def trains_head(inputs: Inputs) -> bool:
    """Whether weight or bias need a gradient."""
    needs = inputs.weight.requires_grad or (inputs.bias is not None and inputs.bias.requires_grad)
    return needs and torch.is_grad_enabled()
