"""How large logits are, and the z-loss that holds them (Chowdhery et al. 2022, PaLM, section 5).

A softmax does not change when all its logits grow together, so cross-entropy does not hold their size; what
is lost is the precision of half-precision numbers. z · log² Z for each target, where Z is the sum of the
exponentials, pulls log Z to 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.objectives.base import Objective, Totals

IGNORE = -100
STATS = ("logsumexp", "z_penalty")
PEAKS = ("logsumexp",)


class Summed(NamedTuple):
    """Over all targets: the summed cross-entropy with the z-loss [], with gradient; `STATS` [2], the sum of
    log Z and the z-loss alone, and `PEAKS` [1], the greatest log Z, without."""

    loss: Tensor
    stats: Tensor
    peaks: Tensor


def summed_losses(logits: Tensor, targets: Tensor, z_loss: float = 0.0) -> Summed:
    """Cross-entropy of logits [N, V] in fp32, summed over targets [N] (−100 is none), with `z_loss` · log² Z.

    log Z is the loss of a target plus its logit, so it costs no further pass over the logits; its gradient,
    softmax(z), comes by the same way.
    """
    logits = logits.float()
    losses = F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none")
    places = targets != IGNORE
    # Gathering with a gradient keeps all logits for the backward pass, beside their log-probabilities.
    source = logits if z_loss else logits.detach()
    of_targets = source.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    log_z = (losses + of_targets).masked_fill(~places, 0.0)
    loss = losses.sum()
    penalty = z_loss * log_z.square().sum() if z_loss else loss.new_zeros(())
    found = log_z.detach()
    peak = found.masked_fill(~places, -math.inf).amax() if len(found) else found.new_tensor(-math.inf)
    return Summed(loss + penalty, torch.stack([found.sum(), penalty.detach()]), peak.unsqueeze(0))


class VocabularyLoss(Objective):
    """An objective whose first term is a cross-entropy over a vocabulary. `STATS` are the last of its
    statistics, `PEAKS` its peaks. The loss that is logged has no z-loss in it, so that runs with and without
    compare."""

    peak_names = PEAKS

    @property
    def z_loss(self) -> float:
        """The weight of the z-loss: of training only."""
        return self.recipe.stability.z_loss if torch.is_grad_enabled() else 0.0

    def loss_of(self, totals: Totals) -> float:
        return super().loss_of(totals) - self._of_targets(totals, "z_penalty") * self.weights[0]

    def logit_metrics(self, totals: Totals) -> dict[str, float]:
        """`logits/logsumexp` and `logits/logsumexp_max`, where the logits were seen, and the z-loss."""
        peak = totals.peaks.get("logsumexp", -math.inf)
        if peak == -math.inf:
            return {}
        values = {"logits/logsumexp": self._of_targets(totals, "logsumexp"), "logits/logsumexp_max": peak}
        if self.recipe.stability.z_loss:
            values["z_loss"] = self._of_targets(totals, "z_penalty")
        return values

    def _of_targets(self, totals: Totals, name: str) -> float:
        """The mean of a statistic over the targets of the first term."""
        return totals.stats.get(name, 0.0) / max(totals.counts[self.terms[0]], 1)
