"""Summed cross-entropy of a head that is trained, a few rows of logits at a time.

The gradient of a sum of losses is known but for a factor as soon as the logits are: it is made in the
forward pass, where the logits lie, and these are never computed twice nor kept (Hsu et al. 2024, Liger
Kernel, section 3.2).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

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


class SummedLoss(NamedTuple):
    """`loss` [], with gradient; without: `stats` [3], how many targets no logit beats, the sum of log Z, and
    the z-loss that is in the loss; `peaks` [1], the greatest log Z."""

    loss: Tensor
    stats: Tensor
    peaks: Tensor


def summed_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, z_loss: float = 0.0) -> SummedLoss:
    """Cross-entropy in nats summed over targets, plus `z_loss` times the squared log Z of each: hidden [N, D]
    and weight [V, D] in fp32, targets [N] (int64). A negative target does not count. Products are in
    autocast's type, or fp32; all else is in fp32.

    Only one backward pass, for the loss; nothing else has a gradient.
    """
    is_half = torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu") if is_half else torch.float32
    if len(targets) and int(targets.max()) >= len(weight):
        raise ValueError(f"a target is {int(targets.max())}, outside a vocabulary of {len(weight)}")
    with torch.autocast("cpu", enabled=False):
        loss, stats, peak = _Summed.apply(hidden, weight, targets.contiguous(), dtype, z_loss)
    return SummedLoss(loss, stats, peak)


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype, z_loss: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        states, head = hidden.to(dtype).contiguous(), weight.to(dtype)
        of_hidden = torch.empty_like(states) if wants_hidden else None
        of_weight = torch.zeros_like(weight) if wants_weight else None
        loss, correct, total, penalty, peak = 0.0, 0, 0.0, 0.0, -math.inf
        for here in chunks(len(targets), head):
            logits = times_transposed(states[here], head)
            wanted = targets[here]
            of_targets = logits.gather(1, wanted.clamp(min=0).unsqueeze(1)).squeeze(1).float()
            losses, is_best = native.cross_entropy_(logits, wanted, gradient=wants_hidden or wants_weight)
            loss, correct = loss + float(losses.sum(dtype=torch.float64)), correct + int(is_best.sum())
            # The loss of a target is log Z less its logit.
            counts = wanted >= 0
            log_z = (losses + of_targets).masked_fill_(~counts, 0.0)
            total += float(log_z.sum(dtype=torch.float64))
            if bool(counts.any()):
                peak = max(peak, float(log_z[counts].max()))
            if z_loss:
                penalty += z_loss * float(log_z.square().sum(dtype=torch.float64))
                if wants_hidden or wants_weight:
                    _add_z_gradient(logits, wanted, counts, 2 * z_loss * log_z)
            if of_hidden is not None:
                of_hidden[here] = times(logits, head)
            if of_weight is not None:
                add_product(of_weight, logits, states[here])
        ctx.gradients = of_hidden, of_weight
        stats, peaks = hidden.new_tensor([correct, total, penalty]), hidden.new_tensor([peak])
        ctx.mark_non_differentiable(stats, peaks)
        return hidden.new_tensor(loss + penalty), stats, peaks

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, Tensor | None, None, None, None]:
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
            None,
        )


def _add_z_gradient(gradient: Tensor, targets: Tensor, counts: Tensor, slope: Tensor) -> None:
    """Add `slope` [N] times the softmax to the gradient of the cross-entropy [N, V], which is the softmax
    less one at the target; in place."""
    gradient.mul_((1 + slope).to(gradient.dtype).unsqueeze(1))
    rows = counts.nonzero().squeeze(1)
    gradient[rows, targets[rows]] += slope[rows].to(gradient.dtype)
