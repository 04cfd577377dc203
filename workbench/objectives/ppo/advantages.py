"""From scores and log-probabilities of a rollout to advantages and returns.

Shapes: B responses of at most T tokens; `mask` [B, T] is 1 at real tokens (up to and with the first end),
wherever the padding is. Padded places have no part in anything and hold 0 in every result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from workbench.objectives.preference.reward_head import last_real_token
from workbench.objectives.reductions import masked, masked_whiten

Estimator = Literal["k1", "k3"]


@dataclass(frozen=True)
class TokenRewards:
    """Rewards of tokens [B, T]: all of it, the part that is no score (−β·KL), and the KL estimate itself."""

    rewards: Tensor
    non_score: Tensor
    kl: Tensor


@dataclass(frozen=True)
class Advantages:
    """Advantages [B, T] as estimated, not yet whitened, and returns [B, T], which the critic learns."""

    advantages: Tensor
    returns: Tensor

    def whitened(self, mask: Tensor) -> Tensor:
        """Advantages of mean 0 and variance 1 over real tokens; the returns are those of before."""
        return masked_whiten(self.advantages, mask)


def token_kl(logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor, estimator: Estimator = "k1") -> Tensor:
    """Estimates of KL(π ‖ π_ref) at sampled tokens [B, T], in nats.

    k1 = log π − log π_ref, unbiased; k3 = e^(−k1) − 1 + k1, unbiased too and never negative (Schulman 2020,
    "Approximating KL Divergence"). With gradients, k3 is the penalty in GRPO's loss (Shao et al. 2024).
    """
    # Masked before the exponential: its gradient at an infinite padded place would be no number.
    k1 = masked(logprobs, mask) - masked(ref_logprobs, mask)
    return k1 if estimator == "k1" else torch.expm1(-k1) + k1


def token_rewards(
    logprobs: Tensor,
    ref_logprobs: Tensor,
    scores: Tensor,
    mask: Tensor,
    kl_coef: float,
    estimator: Estimator = "k1",
) -> TokenRewards:
    """−β(log π − log π_ref) at each token, plus the score [B] of the response at its last one.

    Source: Ziegler et al. 2019, equation 2; Ouyang et al. 2022, equation 2. A row without real tokens has no
    place for a score and gets none.
    """
    kl = token_kl(logprobs, ref_logprobs, mask, estimator).detach()
    non_score = -kl_coef * kl
    at_end = torch.zeros_like(non_score).scatter(
        1, last_real_token(mask).unsqueeze(1), scores.detach().to(non_score.dtype).unsqueeze(1)
    )
    return TokenRewards(non_score + masked(at_end, mask), non_score, kl)


def sequence_rewards(rewards: TokenRewards) -> Tensor:
    """One reward for each whole response [B], score − β·ΣKL: what a critic-free method compares."""
    return rewards.rewards.sum(1)


def whiten_rewards(rewards: Tensor, mask: Tensor) -> Tensor:
    """Rewards [B, T] of variance 1 over real tokens and of the mean that they had: what is worth striving
    for stays so (Huang et al. 2024)."""
    return masked_whiten(rewards, mask, shift_mean=False)


@torch.no_grad()
def generalized_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float = 1.0, lam: float = 0.95
) -> Advantages:
    """δ_t = r_t + γ·V_{t+1} − V_t; A_t = δ_t + γλ·A_{t+1}; return = A + V.

    Source: Schulman et al. 2016, equations 11 to 16. A response ends with its last real token, beyond which
    the value is 0, also where it was cut off. Padding is passed over as if it were not there, before, after
    or between real tokens, so it changes no number. With γ = λ = 1 the advantage is the sum of the rewards
    to come minus the value.
    """
    rewards, values, real = masked(rewards, mask), masked(values, mask), mask.bool()
    next_value = torch.zeros_like(values[:, 0])
    running = torch.zeros_like(next_value)
    advantages = torch.zeros_like(values)
    for t in range(values.shape[1] - 1, -1, -1):
        here = real[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        running = torch.where(here, delta + gamma * lam * running, running)
        next_value = torch.where(here, values[:, t], next_value)
        advantages[:, t] = running
    advantages = masked(advantages, mask)
    return Advantages(advantages, advantages + values)
