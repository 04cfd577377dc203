"""The z-loss against autograd on its formula, and what is logged of logits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import mapping
from torch.nn.functional import cross_entropy

from workbench.errors import RecipeError
from workbench.objectives.logit_size import IGNORE, STATS, VocabularyLoss, summed_losses
from workbench.recipe import validate
from workbench.training.tally import Tally


def test_loss_and_gradient_are_those_of_the_formula() -> None:
    torch.manual_seed(0)
    logits = (3 * torch.randn(7, 11, dtype=torch.float64)).float().requires_grad_()
    targets = torch.tensor([1, IGNORE, 5, 0, 10, 3, IGNORE])
    kept = targets != IGNORE
    found = summed_losses(logits, targets, 0.03)
    wide = logits.detach().double().requires_grad_()
    log_z = wide[kept].logsumexp(1)
    plain = cross_entropy(wide, targets, ignore_index=IGNORE, reduction="sum")
    penalty = 0.03 * log_z.square().sum()
    (plain + penalty).backward()
    found.loss.backward()
    assert wide.grad is not None and logits.grad is not None
    assert found.loss.item() == pytest.approx((plain + penalty).item(), rel=1e-6)
    assert (logits.grad.double() - wide.grad).norm() <= 1e-6 * wide.grad.norm()
    assert not logits.grad[~kept].any()
    log_z = log_z.detach()
    assert found.stats.tolist() == pytest.approx([log_z.sum().item(), penalty.item()], rel=1e-5)
    assert found.peaks.item() == pytest.approx(log_z.max().item(), rel=1e-6)
    nothing = summed_losses(logits.detach(), torch.full_like(targets, IGNORE))
    assert nothing.loss == 0 and nothing.peaks.item() == -math.inf


class Vocabulary(VocabularyLoss):
    """Nothing but the part that is common to all."""

    name = "clm"
    terms = ("loss",)
    stat_names = STATS
    rows = loss = view = sample = None  # type: ignore[assignment]

    def metrics(self, totals: Any, *, training: bool) -> dict[str, float]:
        return self.logit_metrics(totals)


Vocabulary.__abstractmethods__ = frozenset()


def test_what_is_logged_has_no_z_loss_in_it(tmp_path: Path) -> None:
    from workbench.objectives.base import LossOutput

    recipe = validate(mapping(tmp_path / "x", stability__z_loss=0.5), "test")
    objective = Vocabulary(recipe, None)
    window = Tally(objective)
    for value in (2.0, 4.0):
        # One target each: a loss of 1 and the z-loss of log Z = value.
        parts = torch.tensor([value, 0.5 * value**2])
        window_of_step = Tally(objective)
        output = LossOutput(torch.tensor([1 + 0.5 * value**2]), parts, peaks=torch.tensor([value]))
        window_of_step.add(output, (1,))
        window.merge(window_of_step)
    assert window.loss() == pytest.approx(1.0)
    assert objective.metrics(window.totals(), training=True) == {
        "logits/logsumexp": 3.0,
        "logits/logsumexp_max": 4.0,
        "z_loss": 5.0,
    }
    again = Tally(objective, window.values.tolist())
    assert again.totals() == window.totals()
    window.clear()
    assert objective.metrics(window.totals(), training=True) == {}
    with pytest.raises(RecipeError, match=r"has no stability\.z_loss"):
        validate(mapping(tmp_path / "x", stability__z_loss=0.5, objective__name="ppo"), "test")
