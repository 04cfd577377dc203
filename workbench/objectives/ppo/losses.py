"""The losses of PPO and what is logged beside them, all means over real tokens only.

Shapes: B responses of at most T tokens, `mask` [B, T] 1 at real ones; results are scalars. Every function
takes a `denominator`: the number of real tokens of the whole minibatch, where this is a part of it, so that
the parts' losses and statistics add up to its means.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.objectives.reductions import masked, masked_mean, wide


@dataclass(frozen=True)
class PolicyLoss:
    """`loss` has gradients; the rest is for the log.

    `approxkl` is ½(log π − log π_old)², `policykl` is log π_old − log π (k2 and k1 of Schulman 2020, the
    two that TRL logs); `clipfrac` is the share of tokens whose gradient the clipping took away; `ratio` is
    the mean of π/π_old. On the first minibatch of the first epoch they are 0, 0, 0 and 1.
    """

    loss: Tensor
    approxkl: Tensor
    policykl: Tensor
    clipfrac: Tensor
    ratio: Tensor


@dataclass(frozen=True)
class ValueLoss:
    """`loss` has gradients; `clipfrac` is the share of tokens where the clipped error is the greater one;
    `error` is the mean squared error against the returns, unclipped."""

    loss: Tensor
    clipfrac: Tensor
    error: Tensor


def policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    cliprange: float = 0.2,
    denominator: Tensor | float | None = None,
) -> PolicyLoss:
    """The mean of max(−A·ρ, −A·clip(ρ, 1 ± ε)), ρ = π/π_old.

    Source: Schulman et al. 2017, equation 7. `logprobs`, `old_logprobs` and `advantages` are [B, T]; for one
    advantage a response give [B, 1]. Only `logprobs` gets gradients.
    """
    # Masked before the exponential: its gradient at an infinite padded place would be no number.
    change = masked(logprobs, mask) - masked(old_logprobs, mask).detach()
    ratio = change.exp()
    advantages = wide(advantages).detach()
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - cliprange, 1 + cliprange)
    loss = masked_mean(torch.maximum(plain, clipped), mask, denominator)
    with torch.no_grad():
        return PolicyLoss(
            loss,
            approxkl=masked_mean(0.5 * change.square(), mask, denominator),
            policykl=masked_mean(-change, mask, denominator),
            clipfrac=masked_mean((clipped > plain).to(plain.dtype), mask, denominator),
            ratio=masked_mean(ratio, mask, denominator),
        )


def value_loss(
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    mask: Tensor,
    *,
    cliprange_value: float = 0.2,
    denominator: Tensor | float | None = None,
) -> ValueLoss:
    """½ the mean of max((V − R)², (clip(V, V_old ± ε) − R)²), to be multiplied by `vf_coef`.

    Source: the PPO of OpenAI's baselines; Huang et al. 2024. All [B, T]; only `values` gets gradients.
    """
    values = masked(values, mask)
    old_values, returns = masked(old_values, mask).detach(), masked(returns, mask).detach()
    kept = torch.clamp(values, old_values - cliprange_value, old_values + cliprange_value)
    plain, clipped = (values - returns).square(), (kept - returns).square()
    loss = 0.5 * masked_mean(torch.maximum(plain, clipped), mask, denominator)
    with torch.no_grad():
        return ValueLoss(
            loss,
            clipfrac=masked_mean((clipped > plain).to(plain.dtype), mask, denominator),
            error=masked_mean(plain, mask, denominator),
        )


def token_entropy(logits: Tensor) -> Tensor:
    """The entropy in nats of each distribution of logits [..., V], result [...].

    In fp32, which doubles bf16 logits for the moment: hand over a part of the places at a time. A token ruled
    out by a logit of −∞ adds nothing.
    """
    logprobs = torch.log_softmax(wide(logits), dim=-1)
    shares: Tensor = torch.special.entr(logprobs.exp())
    return shares.sum(-1)
