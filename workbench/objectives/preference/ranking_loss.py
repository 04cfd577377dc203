"""Losses of a reward model on rankings of k answers to a prompt.

Shapes: P prompts, K answers at most. `rewards` [P, K]; `ranks` [P, K], 1 best, equal numbers a tie; `mask`
[P, K], which answers there are (prompts may have unequal numbers).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.objectives.reductions import masked, wide

Ties = Literal["omit", "half"]


@dataclass(frozen=True)
class RankingLoss:
    """Losses of prompts [P], and which of them say anything [P]: one with ties only does not.

    A prompt's loss is a mean already, so that nine answers do not outweigh four.
    """

    per_prompt: Tensor
    informative: Tensor

    def mean(self, denominator: Tensor | float | None = None) -> Tensor:
        """The mean over informative prompts; with `denominator` the sum divided by that, so that the
        losses of micro-batches add up."""
        count = self.informative.sum().clamp(min=1) if denominator is None else denominator
        return self.per_prompt.sum() / count


@dataclass(frozen=True)
class RankingStatistics:
    """Sums over untied pairs of a batch, scalars: divide by `pairs`.

    `correct` counts pairs whose better answer has strictly the higher reward; `margin` sums r_w − r_l.
    """

    pairs: Tensor
    correct: Tensor
    margin: Tensor


def wins(ranks: Tensor, mask: Tensor) -> Tensor:
    """[P, K, K], true where answer i was ranked above answer j and both are there."""
    present = mask.bool()
    return (ranks.unsqueeze(2) < ranks.unsqueeze(1)) & present.unsqueeze(2) & present.unsqueeze(1)


def pairwise_ranking_loss(
    rewards: Tensor,
    ranks: Tensor,
    mask: Tensor,
    *,
    ties: Ties = "omit",
    margins: Tensor | None = None,
    center_coefficient: float = 0.0,
) -> RankingLoss:
    """−log σ(r_w − r_l − m), the mean over the pairs of a prompt.

    Source: Ouyang et al. 2022 (InstructGPT), equation 1, over the C(k, 2) pairs that a ranking has. Tied
    pairs are left out, or with `ties="half"` count as half a win for either side, which is the likelihood of
    Bradley–Terry with half wins. `margins` [P, K, K], or what broadcasts to it, has at (i, j) how far i
    should stand above j where it was ranked above it (Touvron et al. 2023, Llama 2, equation 2); ties have
    none. `center_coefficient`·(r_w + r_l)², the mean over the same pairs, keeps rewards around 0 (Eisenstein
    et al. 2023; usual value 0.01).
    """
    rewards = masked(rewards, mask)
    won = wins(ranks, mask)
    difference = rewards.unsqueeze(2) - rewards.unsqueeze(1)
    above = difference if margins is None else difference - wide(margins)
    loss = -F.logsigmoid(above)
    weight = won.to(rewards.dtype)
    if ties == "half":
        present = mask.bool()
        tied = (ranks.unsqueeze(2) == ranks.unsqueeze(1)) & present.unsqueeze(2) & present.unsqueeze(1)
        tied = tied & ~torch.eye(rewards.shape[1], dtype=torch.bool, device=rewards.device)
        # Each tied pair stands there twice, as (i, j) and as (j, i).
        weight = weight + 0.5 * tied
        loss = torch.where(tied, -F.logsigmoid(difference), loss)
    if center_coefficient:
        loss = loss + center_coefficient * (rewards.unsqueeze(2) + rewards.unsqueeze(1)).square()
    pairs = weight.sum((1, 2))
    loss = loss.masked_fill(weight == 0, 0.0)
    return RankingLoss((weight * loss).sum((1, 2)) / pairs.clamp(min=1), pairs > 0)


@torch.no_grad()
def ranking_statistics(rewards: Tensor, ranks: Tensor, mask: Tensor) -> RankingStatistics:
    """What `accuracy` and `margin` are made of; a pair of equal rewards is not a correct one."""
    rewards = masked(rewards, mask)
    won = wins(ranks, mask)
    difference = (rewards.unsqueeze(2) - rewards.unsqueeze(1)).masked_fill(~won, 0.0)
    return RankingStatistics(won.sum(), (difference > 0).sum(), difference.sum())
