"""What an iteration learns from: answers with their log-probabilities, values, rewards and advantages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from workbench.errors import TrainingError
from workbench.objectives.ppo.advantages import (
    generalized_advantages,
    sequence_rewards,
    token_kl,
    token_rewards,
    whiten_rewards,
)
from workbench.objectives.ppo.baselines import group_normalized, leave_one_out
from workbench.objectives.ppo.rewards import eos_penalty
from workbench.objectives.reductions import masked_mean
from workbench.training.ppo.answers import Answer
from workbench.training.ppo.rewarding import Scores

if TYPE_CHECKING:
    from workbench.recipe.ppo_section import PPOSection


@dataclass(frozen=True)
class Rollout:
    """B answers, `num_generations` to each prompt one after another, and what they scored."""

    records: list[Mapping[str, Any]]
    prompts: list[list[int]]
    answers: list[Answer]
    ended: Tensor
    scores: Scores
    seconds: float

    @property
    def tokens(self) -> int:
        """Tokens of all answers."""
        return sum(len(answer.ids) for answer in self.answers)


@dataclass(frozen=True)
class Judged:
    """What the models say of the answers' tokens, tables [B, T] on the CPU: `mask` is 1 at real tokens;
    `values` are 0 where there is no critic."""

    mask: Tensor
    logprobs: Tensor
    ref_logprobs: Tensor
    entropy: Tensor
    values: Tensor


@dataclass(frozen=True)
class Experience:
    """A rollout with all that is learned from it, tables [B, T]; `learns` [B, T] is the mask without answers
    that have no score. `scores` [B] are those after the penalty for a missing end."""

    judged: Judged
    learns: Tensor
    kl: Tensor
    scores: Tensor
    non_score: Tensor
    rewards: Tensor
    advantages: Tensor
    returns: Tensor

    def summary(self) -> dict[str, float]:
        """The means of the iteration under TRL's names: KL and rewards of a response, entropy of a token."""
        scored = ~self.scores.isnan()
        mask = self.judged.mask
        non_score = self.non_score.sum(1)
        return {
            "objective/kl": float(self.kl.sum(1).mean()),
            "objective/entropy": float(masked_mean(self.judged.entropy, mask)),
            "objective/non_score_reward": float(non_score.mean()),
            "objective/rlhf_reward": float((self.scores + non_score)[scored].mean()),
            "objective/scores": float(self.scores[scored].mean()),
        }


def experience_of(rollout: Rollout, judged: Judged, section: PPOSection, kl_coef: float) -> Experience:
    """Rewards, advantages and returns of a rollout. Raises `TrainingError` where nothing has a score."""
    scores = rollout.scores.total
    if section.missing_eos_penalty is not None:
        scores = eos_penalty(scores, rollout.ended, section.missing_eos_penalty)
    scored = ~scores.isnan()
    if not scored.any():
        raise TrainingError(
            "not one answer of the rollout has a score",
            hint="a reward must be a number for some of them; None or NaN is for those it cannot score",
        )
    mask = judged.mask
    learns = mask * scored.unsqueeze(1)
    found = token_rewards(
        judged.logprobs,
        judged.ref_logprobs,
        scores.nan_to_num(0.0),
        mask,
        kl_coef,
        section.kl_estimator if section.advantage != "grpo" else "k1",
    )
    experience = Experience(
        judged,
        learns,
        token_kl(judged.logprobs, judged.ref_logprobs, mask),
        scores,
        found.non_score,
        found.rewards,
        advantages=torch.zeros_like(found.rewards),
        returns=torch.zeros_like(found.rewards),
    )
    if section.advantage == "gae":
        rewards = whiten_rewards(found.rewards, learns) if section.whiten_rewards else found.rewards
        both = generalized_advantages(rewards, judged.values, learns, gamma=section.gamma, lam=section.lam)
        advantages = both.whitened(learns) if section.whiten_advantages else both.advantages
        return replace(experience, advantages=advantages, returns=both.returns)
    groups = (-1, section.num_generations)
    if section.advantage == "rloo":
        whole = sequence_rewards(found).masked_fill(~scored, torch.nan)
        each = leave_one_out(whole.view(groups))
    else:
        # The KL of GRPO is a part of the loss, not of the reward.
        each = group_normalized(scores.view(groups), section.scale_rewards)
    return replace(experience, advantages=each.flatten().unsqueeze(1) * learns)
