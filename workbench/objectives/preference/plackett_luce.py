"""The likelihood of rankings by Plackett and Luce, ties read as partial orders.

Shapes as in `ranking_loss.py`.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from workbench.objectives.preference.ranking_loss import RankingLoss, wins
from workbench.objectives.reductions import masked

MAX_ANSWERS = 12
"""Sets of answers number 2^K, and nobody ranks more by hand: 512 for nine."""

_IMPOSSIBLE = -1e30
"""The log-probability of what cannot be; finite, because −∞ in a logsumexp has gradients of NaN."""


def plackett_luce_loss(
    rewards: Tensor, ranks: Tensor, mask: Tensor, *, per_choice: bool = True
) -> RankingLoss:
    """−log P(ranking) where answers are drawn one after the other, each in proportion to exp(reward) among
    those that are left (Luce 1959; Plackett 1975).

    Tied answers are a partial order: all orders among them would have been as good, so the probability is the
    sum over these, worked out exactly over sets of answers already drawn. The order inside a last tie thus
    costs nothing, and "one is best" is a softmax over all. With `per_choice` the loss is divided by the
    number of answers ranked above others, the choices a ranking without ties makes, k − 1 of them, so that
    for two answers it is the pairwise loss and long rankings do not outweigh short ones.
    """
    if rewards.shape[1] > MAX_ANSWERS:
        raise ValueError(
            f"{rewards.shape[1]} answers to a prompt; Plackett-Luce is for {MAX_ANSWERS} at most"
        )
    rewards = masked(rewards, mask)
    present = mask.bool()
    won = wins(ranks, mask)
    choices = won.any(2).sum(1)
    loss = -_log_likelihood(rewards, present, won)
    loss = torch.where(choices > 0, loss, 0.0)
    return RankingLoss(loss / choices.clamp(min=1) if per_choice else loss, choices > 0)


def _log_likelihood(rewards: Tensor, present: Tensor, won: Tensor) -> Tensor:
    """log P [P], from the empty set to the set of all answers that are there, one answer at a time."""
    prompts, answers = rewards.shape
    device = rewards.device
    members = _members(answers).to(device)
    # The log of what is left to draw from beside each set [P, 2^K].
    left = rewards.unsqueeze(1).masked_fill(members | ~present.unsqueeze(1), _IMPOSSIBLE).logsumexp(2)
    # Those that must be drawn before an answer [P, K], as the bits of a set.
    bits = 1 << torch.arange(answers, device=device)
    before = (won * bits.view(1, -1, 1)).sum(1)
    found = torch.full((prompts, 1 << answers), _IMPOSSIBLE, dtype=rewards.dtype, device=device)
    found[:, 0] = 0.0
    for size in range(1, answers + 1):
        sets, drawn, earlier = (part.to(device) for part in _steps(answers, size))
        # [P, sets of this size, which of their members was drawn last]
        allowed = (before[:, drawn] & ~earlier) == 0
        step = found[:, earlier] + rewards[:, drawn] - left[:, earlier]
        step = step.masked_fill(~(allowed & present[:, drawn]), _IMPOSSIBLE)
        found = found.index_copy(1, sets, step.logsumexp(2))
    everything = (present * bits).sum(1)
    return found.gather(1, everything.unsqueeze(1)).squeeze(1)


@lru_cache(maxsize=MAX_ANSWERS)
def _members(answers: int) -> Tensor:
    """[2^K, K]: which answers are in each set."""
    return (torch.arange(1 << answers).unsqueeze(1) >> torch.arange(answers)) % 2 == 1


@lru_cache(maxsize=MAX_ANSWERS * MAX_ANSWERS)
def _steps(answers: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sets of a size [S], their members [S, size], and each set without that member [S, size]."""
    members = _members(answers)
    sets = (members.sum(1) == size).nonzero().squeeze(1)
    drawn = members[sets].nonzero()[:, 1].view(-1, size)
    return sets, drawn, sets.unsqueeze(1) - (1 << drawn)
