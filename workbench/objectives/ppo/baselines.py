"""Advantages without a critic: each response is measured against others to the same prompt.

Shapes: `rewards` [P, k], k responses to each of P prompts; result [P, k], one advantage for all tokens of a
response. NaN is a response that could not be scored: it gets 0 and is no part of the others' baseline.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from workbench.errors import RecipeError
from workbench.objectives.reductions import masked_variance, wide

Scale = Literal["group", "batch", "none"]

STD_EPSILON = 1e-4
"""Added to the standard deviation, as in TRL."""


def leave_one_out(rewards: Tensor) -> Tensor:
    """The reward minus the mean reward of the other responses to the prompt.

    Source: Kool et al. 2019; Ahmadian et al. 2024, "Back to Basics" (RLOO), equation 8. A response alone
    with a score among its kind has nothing to be measured against and gets 0.
    """
    rewards, scored, count = _grouped(rewards)
    others = (rewards.sum(1, keepdim=True) - rewards) / (count - 1).clamp(min=1)
    return (rewards - others).masked_fill(~scored | (count < 2), 0.0)


def group_normalized(rewards: Tensor, scale: Scale = "group") -> Tensor:
    """The reward minus the mean of its group, over the group's standard deviation.

    Source: Shao et al. 2024, DeepSeekMath (GRPO), section 4.1.2. `scale="batch"` divides by the standard
    deviation over all groups, "none" by nothing (Liu et al. 2025, "Understanding R1-Zero-Like Training":
    dividing favours prompts that are very easy or very hard). With Bessel's correction, as TRL has it.
    """
    rewards, scored, count = _grouped(rewards)
    mean = rewards.sum(1, keepdim=True) / count.clamp(min=1)
    advantages = (rewards - mean).masked_fill(~scored, 0.0)
    if scale == "group":
        variance = advantages.square().sum(1, keepdim=True) / (count - 1).clamp(min=1)
        advantages = advantages / (variance.sqrt() + STD_EPSILON)
    elif scale == "batch":
        advantages = advantages / (masked_variance(rewards, scored).sqrt() + STD_EPSILON)
    return advantages.masked_fill(count < 2, 0.0)


def _grouped(rewards: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rewards with 0 where there is none [P, k], where there is one [P, k], and how many [P, 1]."""
    if rewards.ndim != 2 or rewards.shape[1] < 2:
        raise RecipeError(
            f"rewards of shape {tuple(rewards.shape)} have no others to be compared with",
            where="the critic-free baseline",
            hint="sample at least two responses a prompt, four or more for a useful baseline",
        )
    rewards = wide(rewards).detach()
    scored = ~torch.isnan(rewards)
    return rewards.masked_fill(~scored, 0.0), scored, scored.sum(1, keepdim=True)
