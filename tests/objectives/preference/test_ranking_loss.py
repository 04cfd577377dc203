"""Losses of rankings against loops over Python floats, written from the papers' formulas."""

from __future__ import annotations

import math
from itertools import combinations, permutations

import pytest
import torch
from torch import Tensor

from workbench.objectives.preference.plackett_luce import plackett_luce_loss
from workbench.objectives.preference.ranking_loss import (
    Ties,
    pairwise_ranking_loss,
    ranking_statistics,
)

LN2 = math.log(2)
EXACT = 1e-13
"""Sums of some tens of numbers around 1 in fp64."""

# Four answers and no ties; three with a tie below; five in two ties; two; ties only; one alone.
RANKS = [[2, 1, 4, 3], [1, 2, 2], [2, 1, 2, 3, 1], [1, 2], [1, 1, 1], [1]]


def batch(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Rewards, ranks and mask of `RANKS`, with what must not matter where there is no answer."""
    generator = torch.Generator().manual_seed(3)
    rewards = torch.randn(len(RANKS), 5, generator=generator, dtype=torch.float64).to(dtype)
    ranks = torch.zeros(len(RANKS), 5, dtype=torch.long)
    mask = torch.zeros(len(RANKS), 5, dtype=torch.bool)
    for row, given in enumerate(RANKS):
        ranks[row, : len(given)] = torch.tensor(given)
        mask[row, : len(given)] = True
    rewards = rewards.masked_fill(~mask, math.nan)
    return rewards.requires_grad_(), ranks, mask


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def pairwise(rewards: list[float], ranks: list[int], ties: Ties, margin: float, center: float) -> float:
    """The definition, for one prompt."""
    terms = []
    for i, j in combinations(range(len(ranks)), 2):
        w, l = (i, j) if ranks[i] <= ranks[j] else (j, i)  # noqa: E741
        centring = center * (rewards[w] + rewards[l]) ** 2
        if ranks[i] != ranks[j]:
            terms.append(-math.log(sigmoid(rewards[w] - rewards[l] - margin)) + centring)
        elif ties == "half":
            difference = rewards[w] - rewards[l]
            terms.append(
                -0.5 * math.log(sigmoid(difference)) - 0.5 * math.log(sigmoid(-difference)) + centring
            )
    return sum(terms) / len(terms) if terms else 0.0


@pytest.mark.parametrize("ties", ["omit", "half"])
@pytest.mark.parametrize(("margin", "center"), [(0.0, 0.0), (0.7, 0.01)])
def test_pairs_of_a_ranking(ties: Ties, margin: float, center: float) -> None:
    rewards, ranks, mask = batch()
    found = pairwise_ranking_loss(
        rewards,
        ranks,
        mask,
        ties=ties,
        margins=torch.tensor(margin) if margin else None,
        center_coefficient=center,
    )
    values = rewards.tolist()
    expected = [
        pairwise(values[row][: len(r)], r, ties, float(torch.tensor(margin)), center)
        for row, r in enumerate(RANKS)
    ]
    assert found.per_prompt.tolist() == pytest.approx(expected, rel=EXACT, abs=0)
    informative = [True, True, True, True, ties == "half", False]
    assert found.informative.tolist() == informative
    assert found.mean().item() == pytest.approx(sum(expected) / sum(informative), rel=EXACT)
    found.mean().backward()
    assert rewards.grad is not None
    # What is not there has no gradient, not even one of NaN.
    assert rewards.grad.isfinite().all() and not rewards.grad[~mask].any()


def test_a_zero_head_is_worth_ln_2_however_long_the_rankings() -> None:
    _, ranks, mask = batch()
    for ties in ("omit", "half"):
        loss = pairwise_ranking_loss(torch.zeros(6, 5), ranks, mask, ties=ties, center_coefficient=0.01)
        assert float(loss.mean()) == pytest.approx(0.693147, abs=5e-7)


def test_margins_of_pairs_may_differ() -> None:
    rewards = torch.tensor([[1.0, 0.5], [0.0, 2.0]], dtype=torch.float64)
    ranks, mask = torch.tensor([[1, 2], [2, 1]]), torch.ones(2, 2)
    margins = torch.tensor([1.0, 3.0], dtype=torch.float64)
    found = pairwise_ranking_loss(rewards, ranks, mask, margins=margins.view(2, 1, 1))
    expected = [-math.log(sigmoid(0.5 - 1)), -math.log(sigmoid(2 - 3))]
    assert found.per_prompt.tolist() == pytest.approx(expected, rel=EXACT)


def test_statistics_of_untied_pairs() -> None:
    rewards = torch.tensor([[3.0, 1.0, 1.0, math.inf], [0.0, 1.0, math.nan, 0.0]])
    ranks = torch.tensor([[1, 2, 3, 1], [1, 2, 1, 2]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    found = ranking_statistics(rewards, ranks, mask)
    # Right: 3 above 1, twice. Equal rewards are not right; 0 below 1 is wrong.
    assert (int(found.pairs), int(found.correct), float(found.margin)) == (4, 2, 2 + 2 + 0 - 1)


def test_micro_batches_add_up() -> None:
    rewards, ranks, mask = batch()
    whole = pairwise_ranking_loss(rewards, ranks, mask)
    parts = [pairwise_ranking_loss(rewards[p], ranks[p], mask[p]) for p in (slice(0, 1), slice(1, 6))]
    count = whole.informative.sum()
    total = torch.stack([part.mean(count) for part in parts]).sum()
    assert total.item() == pytest.approx(whole.mean().item(), rel=EXACT)


def test_padding_with_answers_changes_nothing() -> None:
    rewards, ranks, mask = batch()
    wider = [torch.nn.functional.pad(tensor.detach(), (2, 1)) for tensor in (rewards, ranks, mask)]
    for loss in (pairwise_ranking_loss, plackett_luce_loss):
        narrow, wide = loss(rewards, ranks, mask), loss(*wider)
        torch.testing.assert_close(narrow.per_prompt.detach(), wide.per_prompt, rtol=EXACT, atol=0)


def test_all_in_fp32_whatever_comes_in() -> None:
    rewards, ranks, mask = batch(torch.bfloat16)
    for loss in (pairwise_ranking_loss, plackett_luce_loss):
        found = loss(rewards, ranks, mask).per_prompt
        assert found.dtype == torch.float32
        assert torch.equal(found, loss(rewards.float(), ranks, mask).per_prompt)


def partial_order(rewards: list[float], ranks: list[int]) -> float:
    """The definition: the sum over all orders that the ranking allows of a product of softmaxes."""
    total = 0.0
    for order in permutations(range(len(ranks))):
        if any(ranks[a] > ranks[b] for a, b in zip(order, order[1:], strict=False)):
            continue
        probability = 1.0
        for place, answer in enumerate(order):
            probability *= math.exp(rewards[answer]) / sum(math.exp(rewards[o]) for o in order[place:])
        total += probability
    return -math.log(total)


@pytest.mark.parametrize("per_choice", [True, False])
def test_plackett_luce_sums_over_the_orders_that_ties_allow(per_choice: bool) -> None:
    rewards, ranks, mask = batch()
    found = plackett_luce_loss(rewards, ranks, mask, per_choice=per_choice)
    values = rewards.tolist()
    choices = [3, 1, 4, 1, 0, 0]
    expected = [
        partial_order(values[row][: len(r)], r) / (max(c, 1) if per_choice else 1) if c else 0.0
        for row, (r, c) in enumerate(zip(RANKS, choices, strict=True))
    ]
    assert found.per_prompt.tolist() == pytest.approx(expected, rel=EXACT, abs=0)
    assert found.informative.tolist() == [bool(c) for c in choices]
    found.mean().backward()
    assert rewards.grad is not None
    assert rewards.grad.isfinite().all() and not rewards.grad[~mask].any()
    # Only differences matter, so gradients of a prompt sum to 0.
    assert rewards.grad.sum(1).abs().max() < EXACT


def test_plackett_luce_of_two_is_the_pairwise_loss() -> None:
    rewards = torch.tensor([[0.3, -1.2], [4.0, 9.0]], dtype=torch.float64)
    ranks, mask = torch.tensor([[1, 2], [1, 2]]), torch.ones(2, 2)
    torch.testing.assert_close(
        plackett_luce_loss(rewards, ranks, mask).per_prompt,
        pairwise_ranking_loss(rewards, ranks, mask).per_prompt,
        rtol=EXACT,
        atol=0,
    )


def test_best_only_is_a_softmax_and_nine_answers_fit() -> None:
    rewards = 5 * torch.randn(2, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ranks = torch.full((2, 9), 2)
    ranks[:, 4] = 1
    found = plackett_luce_loss(rewards, ranks, torch.ones(2, 9)).per_prompt
    torch.testing.assert_close(found, -rewards.log_softmax(1)[:, 4], rtol=EXACT, atol=0)
    with pytest.raises(ValueError, match="12 at most"):
        plackett_luce_loss(torch.zeros(1, 13), torch.ones(1, 13), torch.ones(1, 13))


def test_gradients() -> None:
    rewards, ranks, mask = batch()
    rewards = rewards.detach().nan_to_num(0.0).requires_grad_()

    def pairs(x: Tensor) -> Tensor:
        return pairwise_ranking_loss(
            x, ranks, mask, ties="half", margins=torch.tensor(0.5), center_coefficient=0.01
        ).mean()

    assert torch.autograd.gradcheck(pairs, rewards)
    assert torch.autograd.gradcheck(lambda x: plackett_luce_loss(x, ranks, mask).mean(), rewards)
