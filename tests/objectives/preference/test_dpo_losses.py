"""DPO's losses: the exact values of the first step, and loops over Python floats from the papers."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from workbench.errors import RecipeError
from workbench.objectives.preference.dpo_losses import (
    LOSSES,
    DPOOptions,
    LossType,
    PairLogprobs,
    dpo_loss,
)
from workbench.objectives.preference.sequence_logprobs import SequenceLogprobs, completion_logprobs

EXACT = 1e-13

CASES = [
    DPOOptions("sigmoid", 0.1),
    DPOOptions("sigmoid", 0.3, label_smoothing=0.1),
    DPOOptions("hinge", 0.1),
    DPOOptions("ipo", 0.1),
    DPOOptions("robust", 0.2, label_smoothing=0.2),
    DPOOptions("sigmoid_norm", 2.0),
    DPOOptions("sigmoid_norm", 2.0, label_smoothing=0.25),
    DPOOptions("sigmoid", 0.1, nll_coefficient=0.7),
]


def rows(seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Log-probabilities of 4 chosen and 4 rejected completions, [8, 12]."""
    return -3 * torch.rand(8, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        dtype
    )


# Prompts and completions of unequal lengths, padded left, right and both.
FIRST = [2, 0, 5, 1, 2, 0, 4, 1]
LAST = [9, 12, 7, 2, 12, 3, 11, 10]
MASK = torch.tensor([[f <= t < e for t in range(12)] for f, e in zip(FIRST, LAST, strict=True)])


def pairs(logprobs: Tensor, mask: Tensor = MASK) -> PairLogprobs:
    both = completion_logprobs(logprobs, mask)
    return PairLogprobs(both[:4], both[4:])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def definition(policy: list[list[float]], reference: list[list[float]], options: DPOOptions) -> list[float]:
    """Losses of the four pairs by the formulas, one float after the other."""
    beta, eps = options.beta, options.label_smoothing
    found = []
    for pair in range(4):
        ratio, length, nll = [], [], 0.0
        for row in (pair, pair + 4):
            places = range(FIRST[row], LAST[row])
            length.append(len(places))
            ratio.append(sum(policy[row][t] for t in places) - sum(reference[row][t] for t in places))
            if row == pair:
                nll = -sum(policy[row][t] for t in places) / len(places)
        d = ratio[0] - ratio[1]
        average = ratio[0] / length[0] - ratio[1] / length[1]
        loss = {
            "sigmoid": -(1 - eps) * math.log(sigmoid(beta * d)) - eps * math.log(sigmoid(-beta * d)),
            "hinge": max(0.0, 1 - beta * d),
            "ipo": (average - 1 / (2 * beta)) ** 2,
            "robust": (-(1 - eps) * math.log(sigmoid(beta * d)) + eps * math.log(sigmoid(-beta * d)))
            / (1 - 2 * eps),
            "sigmoid_norm": -(1 - eps) * math.log(sigmoid(beta * average))
            - eps * math.log(sigmoid(-beta * average)),
        }[options.loss_type]
        found.append(loss + options.nll_coefficient * nll)
    return found


@pytest.mark.parametrize(
    "options", CASES, ids=lambda o: f"{o.loss_type}-{o.label_smoothing}-{o.nll_coefficient}"
)
def test_losses_are_the_formulas(options: DPOOptions) -> None:
    policy, reference = rows(0).requires_grad_(), rows(1).requires_grad_()
    found = dpo_loss(pairs(policy), pairs(reference), options)
    expected = definition(policy.tolist(), reference.tolist(), options)
    assert found.losses.tolist() == pytest.approx(expected, rel=EXACT)
    found.losses.mean().backward()
    assert reference.grad is None
    assert policy.grad is not None and not policy.grad[~MASK].any()
    assert torch.autograd.gradcheck(
        lambda x: dpo_loss(pairs(x), pairs(reference.detach()), options).losses,
        policy.detach().requires_grad_(),
    )


@pytest.mark.parametrize(
    ("options", "value"),
    [
        (DPOOptions("sigmoid"), 0.693147),
        (DPOOptions("sigmoid", label_smoothing=0.2), 0.693147),
        (DPOOptions("sigmoid_norm"), 0.693147),
        (DPOOptions("robust", label_smoothing=0.3), 0.693147),
        (DPOOptions("hinge"), 1),
        (DPOOptions("ipo", 0.1), 25),
        (DPOOptions("ipo", 0.5), 1),
    ],
    ids=lambda o: o.loss_type if isinstance(o, DPOOptions) else "",
)
def test_at_the_first_step(options: DPOOptions, value: float) -> None:
    both = pairs(rows(0, torch.float32))
    found = dpo_loss(both, both, options)
    assert found.losses.tolist() == pytest.approx([value] * 4, abs=5e-7 * max(value, 1))
    for name in ("chosen", "rejected", "margins", "accuracies"):
        assert found.metrics()[f"rewards/{name}"].tolist() == [0] * 4


def test_every_loss_is_tested_and_can_be_named() -> None:
    assert {o.loss_type for o in CASES} == set(LOSSES) == set(get_args(LossType))


def test_metrics() -> None:
    policy, reference = rows(0), rows(1)
    found = dpo_loss(pairs(policy), pairs(reference), DPOOptions("ipo", 0.2)).metrics()
    sums, of_reference = (policy * MASK).sum(1), (reference * MASK).sum(1)
    chosen, rejected = 0.2 * (sums - of_reference)[:4], 0.2 * (sums - of_reference)[4:]
    torch.testing.assert_close(found["rewards/chosen"], chosen, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(found["rewards/margins"], chosen - rejected, rtol=EXACT, atol=EXACT)
    assert found["rewards/accuracies"].tolist() == (chosen > rejected).double().tolist()
    torch.testing.assert_close(found["logps/rejected"], sums[4:], rtol=EXACT, atol=EXACT)


def test_robust_loss_is_unbiased_under_turned_preferences() -> None:
    """(1 − ε)·loss of the pair + ε·loss of the pair turned round is the loss without noise."""
    policy, reference = pairs(rows(0)), pairs(rows(1))
    turned = PairLogprobs(policy.rejected, policy.chosen), PairLogprobs(reference.rejected, reference.chosen)
    noisy = DPOOptions("robust", label_smoothing=0.2)
    mixed = 0.8 * dpo_loss(policy, reference, noisy).losses + 0.2 * dpo_loss(*turned, noisy).losses
    torch.testing.assert_close(mixed, dpo_loss(policy, reference, DPOOptions()).losses, rtol=EXACT, atol=0)


def test_only_completions_count_and_padding_changes_nothing() -> None:
    logprobs = rows(0, torch.float32)
    spoilt = logprobs.masked_fill(~MASK, -math.inf).requires_grad_()
    sums = completion_logprobs(spoilt, MASK)
    assert sums.counts.tolist() == [e - f for f, e in zip(FIRST, LAST, strict=True)]
    expected = [math.fsum(r[f:e]) for r, f, e in zip(logprobs.tolist(), FIRST, LAST, strict=True)]
    assert sums.sums.tolist() == pytest.approx(expected, rel=12 * 2**-24)
    sums.sums.sum().backward()
    assert spoilt.grad is not None and torch.equal(spoilt.grad, MASK.float())
    wider = completion_logprobs(
        torch.nn.functional.pad(logprobs.double(), (3, 9), value=math.nan),
        torch.nn.functional.pad(MASK, (3, 9)),
    )
    torch.testing.assert_close(
        wider.means, (logprobs.double() * MASK).sum(1) / MASK.sum(1), rtol=EXACT, atol=0
    )
    with pytest.raises(ValueError, match="differ"):
        completion_logprobs(logprobs, MASK[:, 1:])


def test_half_precision_is_summed_in_fp32() -> None:
    # Steps of bf16 at 256 are 2: summed in bf16, ones would stop counting there.
    found = completion_logprobs(torch.full((1, 1000), -1.0, dtype=torch.bfloat16), torch.ones(1, 1000))
    assert found.sums.dtype == torch.float32 and found.sums.item() == -1000
    loss = dpo_loss(PairLogprobs(found, found), PairLogprobs(found, found), DPOOptions())
    assert loss.losses.dtype == torch.float32


def test_extreme_ratios_stay_finite() -> None:
    ones = torch.ones(2)
    chosen = torch.tensor([-1e5, 1e5], requires_grad=True)
    policy = PairLogprobs(SequenceLogprobs(chosen, ones), SequenceLogprobs(-chosen, ones))
    zero = SequenceLogprobs(torch.zeros(2), ones)
    for options in CASES:
        losses = dpo_loss(policy, PairLogprobs(zero, zero), options).losses
        (gradient,) = torch.autograd.grad(losses.sum(), chosen)
        assert losses.isfinite().all() and gradient.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"loss_type": "sigmod"}, "no loss of DPO"),
        ({"beta": 0.0}, "beta is 0"),
        ({"beta": math.nan}, "beta is nan"),
        ({"label_smoothing": 0.5}, "label_smoothing is 0.5"),
        ({"label_smoothing": 0.1, "loss_type": "ipo"}, "no label smoothing"),
        ({"nll_coefficient": -1.0}, "coefficient of the NLL"),
    ],
)
def test_options_that_cannot_be(changes: dict[str, object], says: str) -> None:
    with pytest.raises(RecipeError, match=says) as raised:
        DPOOptions(**changes)  # type: ignore[arg-type]
    assert raised.value.where and raised.value.hint
    # One without a completion has nothing to say of itself, and breaks nothing.
    empty = SequenceLogprobs(torch.zeros(1), torch.zeros(1))
    assert empty.means.item() == 0
