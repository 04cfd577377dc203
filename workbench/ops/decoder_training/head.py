"""Summed cross-entropy of a head that is trained, a few rows of logits at a time.

The gradient of a sum of losses is known but for a factor as soon as the logits are: it is made in the
forward pass, where the logits lie, and these are never computed twice nor kept (Hsu et al. 2024, Liger
Kernel, section 3.2).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from workbench.ops.decoder_training import native
from workbench.ops.decoder_training.blocks import add_product, chunks
from workbench.ops.decoder_training.products import times, times_transposed

LEAST_VOCABULARY = 4096
"""The logits of a smaller one are no burden, and not worth the compilation."""


def why_not(head: Any) -> str | None:
    """What keeps a head from this operator here and now, in words."""
    weight = head.weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return f"native code takes fp32 weights on a CPU, not {weight.dtype} on {weight.device.type}"
    if len(weight) < LEAST_VOCABULARY:
        return f"a vocabulary of {len(weight):,} is smaller than {LEAST_VOCABULARY:,}"
    if head.bias is not None:
        return "native code takes no bias"
    if torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") != torch.bfloat16:
        return f"native code takes bf16, not {torch.get_autocast_dtype('cpu')}"
    found = native.library()
    return found if isinstance(found, str) else None


def summed_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy in nats summed over targets, and how many of them no logit beats: hidden [N, D] and
    weight [V, D] in fp32, targets [N] (int64). A negative target does not count. Products are in autocast's
    type, or fp32; all else is in fp32.

    Only one backward pass, for the loss; the count has no gradient.
    """
    is_half = torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu") if is_half else torch.float32
    if len(targets) and int(targets.max()) >= len(weight):
        raise ValueError(f"a target is {int(targets.max())}, outside a vocabulary of {len(weight)}")
    with torch.autocast("cpu", enabled=False):
        loss, correct = _Summed.apply(hidden, weight, targets.contiguous(), dtype)
    return loss, correct


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        states, head = hidden.to(dtype).contiguous(), weight.to(dtype)
        of_hidden = torch.empty_like(states) if wants_hidden else None
        of_weight = torch.zeros_like(weight) if wants_weight else None
        loss, correct = 0.0, 0
        for here in chunks(len(targets), head):
            logits = times_transposed(states[here], head)
            losses, is_best = native.cross_entropy_(
                logits, targets[here], gradient=wants_hidden or wants_weight
            )
            loss, correct = loss + float(losses.sum(dtype=torch.float64)), correct + int(is_best.sum())
            if of_hidden is not None:
                of_hidden[here] = times(logits, head)
            if of_weight is not None:
                add_product(of_weight, logits, states[here])
        ctx.gradients = of_hidden, of_weight
        total, count = hidden.new_tensor(loss), targets.new_tensor(correct)
        ctx.mark_non_differentiable(count)
        return total, count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, Tensor | None, None, None]:
        if ctx.gradients is None:
            raise RuntimeError("the gradients of this loss have been taken already")
        of_hidden, of_weight = ctx.gradients
        ctx.gradients = None
        return (
            None if of_hidden is None else of_hidden.to(torch.float32) * grad,
            # In place: there is as much of it as of the weight.
            None if of_weight is None else of_weight.mul_(grad),
            None,
            None,
        )
