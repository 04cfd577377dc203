"""Direct preference optimisation: losses of pairs from the log-probabilities of whole completions.

Source: Rafailov et al. 2023, "Direct Preference Optimization", equation 7, and those named at each loss.
Shapes: B pairs; all results [B], in fp32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.errors import RecipeError
from workbench.objectives.preference.sequence_logprobs import SequenceLogprobs
from workbench.objectives.reductions import wide

LossType = Literal["sigmoid", "hinge", "ipo", "robust", "sigmoid_norm"]

SMOOTHED = ("sigmoid", "robust", "sigmoid_norm")
"""Losses that `label_smoothing` has a meaning for."""


@dataclass(frozen=True)
class DPOOptions:
    """Which loss: `loss_type`, `beta` (> 0; how dear it is to leave the reference), `label_smoothing` (from 0
    to below 0.5: how often a preference is taken to be the wrong way round), `nll_coefficient` (≥ 0)."""

    loss_type: LossType = "sigmoid"
    beta: float = 0.1
    label_smoothing: float = 0.0
    nll_coefficient: float = 0.0

    def __post_init__(self) -> None:
        if self.loss_type not in LOSSES:
            known = ", ".join(get_args(LossType))
            raise RecipeError(
                f"{self.loss_type!r} is no loss of DPO", where="loss_type", hint=f"one of {known}"
            )
        if not 0 < self.beta < float("inf"):
            raise RecipeError(f"beta is {self.beta}", where="beta", hint="a number above 0, such as 0.1")
        if not 0 <= self.label_smoothing < 0.5:
            raise RecipeError(
                f"label_smoothing is {self.label_smoothing}",
                where="label_smoothing",
                hint="from 0 to below 0.5; at 0.5 preferences would say nothing",
            )
        if self.label_smoothing and self.loss_type not in SMOOTHED:
            raise RecipeError(
                f"the loss {self.loss_type!r} has no label smoothing",
                where="label_smoothing",
                hint=f"leave it at 0, or take one of {', '.join(SMOOTHED)}",
            )
        if not 0 <= self.nll_coefficient < float("inf"):
            raise RecipeError(
                f"the coefficient of the NLL term is {self.nll_coefficient}",
                where="nll_coefficient",
                hint="0 for none, or a number above it, such as 1",
            )


@dataclass(frozen=True)
class PairLogprobs:
    """One model's log-probabilities of both completions of B pairs."""

    chosen: SequenceLogprobs
    rejected: SequenceLogprobs


@dataclass(frozen=True)
class DPOLoss:
    """Losses of pairs and what is logged beside them, all [B]; only `losses` has gradients.

    Rewards are β(log π − log π_ref) of the whole completion whatever the loss (Rafailov et al. 2023,
    equation 5 without its constant).
    """

    losses: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor
    chosen_logps: Tensor
    rejected_logps: Tensor

    def metrics(self) -> dict[str, Tensor]:
        """Values of pairs [B] by the names that they are logged under, means over pairs being meant. A pair
        of equal rewards is not accurate, so at the first step accuracy is 0."""
        return {
            "rewards/chosen": self.chosen_rewards,
            "rewards/rejected": self.rejected_rewards,
            "rewards/margins": self.chosen_rewards - self.rejected_rewards,
            "rewards/accuracies": (self.chosen_rewards > self.rejected_rewards).to(self.losses.dtype),
            "logps/chosen": self.chosen_logps,
            "logps/rejected": self.rejected_logps,
        }


def dpo_loss(policy: PairLogprobs, reference: PairLogprobs, options: DPOOptions) -> DPOLoss:
    """Losses of pairs from log-probabilities under the policy and under the reference, which has no
    gradients whatever it came with."""
    chosen = wide(policy.chosen.sums) - wide(reference.chosen.sums).detach()
    rejected = wide(policy.rejected.sums) - wide(reference.rejected.sums).detach()
    if options.loss_type in PER_TOKEN:
        difference = chosen / policy.chosen.counts.clamp(min=1)
        difference = difference - rejected / policy.rejected.counts.clamp(min=1)
    else:
        difference = chosen - rejected
    losses = LOSSES[options.loss_type](difference, options.beta, options.label_smoothing)
    if options.nll_coefficient:
        losses = losses + options.nll_coefficient * nll_term(policy.chosen)
    with torch.no_grad():
        return DPOLoss(
            losses,
            options.beta * chosen.detach(),
            options.beta * rejected.detach(),
            wide(policy.chosen.sums).detach(),
            wide(policy.rejected.sums).detach(),
        )


def nll_term(chosen: SequenceLogprobs) -> Tensor:
    """−log π per token of the chosen completions [B] (Pang et al. 2024, "Iterative Reasoning Preference
    Optimization", equation 1).

    Each completion is averaged by itself, as in the paper; TRL averages over all tokens of a batch, which
    is the same for completions of equal length and else gives long ones more weight.
    """
    return -chosen.means


def sigmoid_loss(difference: Tensor, beta: float, label_smoothing: float) -> Tensor:
    """−(1 − ε) log σ(βΔ) − ε log σ(−βΔ): DPO, equation 7; with ε > 0 the conservative form (Mitchell 2023,
    "A note on DPO with noisy preferences")."""
    logits = beta * difference
    loss = -F.logsigmoid(logits)
    if not label_smoothing:
        return loss
    return (1 - label_smoothing) * loss - label_smoothing * F.logsigmoid(-logits)


def robust_loss(difference: Tensor, beta: float, label_smoothing: float) -> Tensor:
    """(−(1 − ε) log σ(βΔ) + ε log σ(−βΔ)) / (1 − 2ε): unbiased where a share ε of preferences is the wrong
    way round (Chowdhury et al. 2024, "Provably Robust DPO"). It may fall below 0."""
    logits = beta * difference
    straight, turned = F.logsigmoid(logits), F.logsigmoid(-logits)
    return (label_smoothing * turned - (1 - label_smoothing) * straight) / (1 - 2 * label_smoothing)


def hinge_loss(difference: Tensor, beta: float, _label_smoothing: float) -> Tensor:
    """max(0, 1 − βΔ) (Zhao et al. 2023, SLiC-HF; Liu et al. 2023, RSO)."""
    return torch.relu(1 - beta * difference)


def ipo_loss(difference: Tensor, beta: float, _label_smoothing: float) -> Tensor:
    """(Δ − 1/(2β))², Δ per token (Azar et al. 2023, equation 17, τ = β; the average over tokens is what
    its authors used, as they told TRL's)."""
    return (difference - 1 / (2 * beta)).square()


PER_TOKEN = ("ipo", "sigmoid_norm")
"""Losses whose log-ratios are averaged over each completion's tokens; `sigmoid_norm` is then DPO's own
(Lambert et al. 2024, Tülu 3, section 5)."""

LOSSES: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "sigmoid": sigmoid_loss,
    "hinge": hinge_loss,
    "ipo": ipo_loss,
    "robust": robust_loss,
    "sigmoid_norm": sigmoid_loss,
}
