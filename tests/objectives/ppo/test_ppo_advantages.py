"""Rewards, advantages and whitening against loops over Python floats, on rows padded on all sides."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.objectives.ppo.advantages import (
    generalized_advantages,
    sequence_rewards,
    token_kl,
    token_rewards,
    whiten_rewards,
)
from workbench.objectives.reductions import masked_mean, masked_variance, masked_whiten

EXACT = 1e-12
"""Sums of some tens of numbers of size 10 in fp64."""

# Padded right, left, on both sides, with a gap, not at all, one token, and none.
PLACES = [[0, 1, 2], [4, 5, 6, 7], [2, 3], [0, 1, 4, 6], list(range(8)), [5], []]
MASK = torch.tensor([[t in places for t in range(8)] for places in PLACES])


def random(seed: int) -> Tensor:
    """Numbers [7, 8], and at padded places what must not matter."""
    values = torch.randn(7, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.masked_fill(~MASK, (math.nan, math.inf, -math.inf)[seed % 3])


def real(values: Tensor) -> list[list[float]]:
    """The real tokens of each row, one after the other."""
    return [[values[row, t].item() for t in places] for row, places in enumerate(PLACES)]


def flat(values: Tensor) -> list[float]:
    return [value for row in real(values) for value in row]


def gae(r: list[float], v: list[float], gamma: float, lam: float) -> list[float]:
    """A_t = Σ_l (γλ)^l δ_{t+l}, as a double sum (Schulman et al. 2016, equation 16)."""
    delta = [r[t] + gamma * (v[t + 1] if t + 1 < len(v) else 0.0) - v[t] for t in range(len(v))]
    return [sum((gamma * lam) ** i * d for i, d in enumerate(delta[t:])) for t in range(len(v))]


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.99, 0.0)])
def test_gae_is_the_sum_of_residuals(gamma: float, lam: float) -> None:
    rewards, values = random(0), random(1)
    found = generalized_advantages(rewards, values, MASK, gamma=gamma, lam=lam)
    for row, (r, v) in enumerate(zip(real(rewards), real(values), strict=True)):
        expected = gae(r, v, gamma, lam)
        assert real(found.advantages)[row] == pytest.approx(expected, rel=EXACT, abs=EXACT)
        returns = [a + b for a, b in zip(expected, v, strict=True)]
        assert real(found.returns)[row] == pytest.approx(returns, rel=EXACT, abs=EXACT)
    assert not found.advantages[~MASK].any() and not found.returns[~MASK].any()


def test_without_discount_the_advantage_is_the_return_minus_the_value() -> None:
    rewards, values = random(0), random(1)
    found = generalized_advantages(rewards, values, MASK, gamma=1.0, lam=1.0)
    for row, (r, v) in enumerate(zip(real(rewards), real(values), strict=True)):
        to_come = [math.fsum(r[t:]) for t in range(len(r))]
        assert real(found.returns)[row] == pytest.approx(to_come, rel=EXACT, abs=EXACT)
        minus = [a - b for a, b in zip(to_come, v, strict=True)]
        assert real(found.advantages)[row] == pytest.approx(minus, rel=EXACT, abs=EXACT)


def test_more_padding_changes_nothing() -> None:
    def all_of(pad: tuple[int, int], dtype: torch.dtype) -> list[Tensor]:
        mask = F.pad(MASK, pad)
        logprobs, ref, values = (F.pad(random(s).to(dtype), pad, value=-1.0) for s in (0, 1, 2))
        rewards = token_rewards(logprobs, ref, torch.arange(7.0), mask, 0.05)
        found = generalized_advantages(rewards.rewards, values, mask)
        each_token = [rewards.rewards, rewards.kl, found.advantages, found.returns]
        each_token += [found.whitened(mask), whiten_rewards(rewards.rewards, mask)]
        return [values[mask] for values in each_token]

    narrow, wide = all_of((0, 0), torch.float64), all_of((5, 13), torch.float64)
    for a, b in zip(narrow, wide, strict=True):
        torch.testing.assert_close(a, b, rtol=EXACT, atol=EXACT)
    # The recursion passes over padding, so there it is the same to the last bit, in fp32 too.
    narrow, wide = all_of((0, 0), torch.float32), all_of((5, 13), torch.float32)
    for a, b in zip(narrow[:4], wide[:4], strict=True):
        assert torch.equal(a, b)


def test_the_score_comes_at_the_last_token() -> None:
    logprobs, ref = random(0), random(1)
    scores = torch.tensor([1.0, -2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    found = token_rewards(logprobs, ref, scores, MASK, 0.05)
    pairs = zip(real(logprobs), real(ref), scores.tolist(), strict=True)
    for row, (pi, pi_ref, score) in enumerate(pairs):
        expected = [-0.05 * (a - b) for a, b in zip(pi, pi_ref, strict=True)]
        assert real(found.non_score)[row] == pytest.approx(expected, rel=EXACT, abs=EXACT)
        if expected:
            expected[-1] += score
        assert real(found.rewards)[row] == pytest.approx(expected, rel=EXACT, abs=EXACT)
        assert sequence_rewards(found)[row].item() == pytest.approx(math.fsum(expected), abs=EXACT)
    assert not found.rewards[~MASK].any() and not found.kl[~MASK].any()


def test_the_reference_itself_costs_nothing() -> None:
    logprobs = random(0)
    for estimator in ("k1", "k3"):
        found = token_rewards(logprobs, logprobs, torch.zeros(7), MASK, 0.05, estimator)
        assert not found.kl.any() and not found.rewards.any()


def test_estimators_of_kl_are_unbiased() -> None:
    """Over all tokens of a small vocabulary, weighted as they would be drawn: exactly the KL."""
    pi = torch.tensor([[0.5, 0.2, 0.2, 0.1]], dtype=torch.float64)
    ref = torch.tensor([[0.1, 0.3, 0.2, 0.4]], dtype=torch.float64)
    exact = sum(p * math.log(p / q) for p, q in zip(pi[0].tolist(), ref[0].tolist(), strict=True))
    for estimator in ("k1", "k3"):
        found = token_kl(pi.log(), ref.log(), torch.ones(1, 4), estimator)
        assert (pi * found).sum().item() == pytest.approx(exact, rel=EXACT)
    assert (found >= 0).all()
    logprobs = random(2).requires_grad_()
    token_kl(logprobs, random(0), MASK, "k3").sum().backward()
    assert logprobs.grad is not None and logprobs.grad.isfinite().all()


@pytest.mark.parametrize("shift_mean", [True, False])
def test_whitening_is_over_real_tokens(shift_mean: bool) -> None:
    values = 3 + 5 * random(1)
    numbers = flat(values)
    mean, variance = statistics.fmean(numbers), statistics.variance(numbers)
    assert masked_mean(values, MASK).item() == pytest.approx(mean, rel=EXACT)
    assert masked_variance(values, MASK).item() == pytest.approx(variance, rel=EXACT)
    found = masked_whiten(values, MASK, shift_mean=shift_mean)
    offset = 0 if shift_mean else mean
    expected = [(x - mean) / math.sqrt(variance + 1e-8) + offset for x in numbers]
    assert flat(found) == pytest.approx(expected, rel=EXACT, abs=EXACT)
    assert not found[~MASK].any()


def test_rewards_keep_their_mean_and_returns_are_of_before_whitening() -> None:
    rewards, values = 4 + random(0), random(1)
    kept = whiten_rewards(rewards, MASK)
    assert masked_mean(kept, MASK).item() == pytest.approx(masked_mean(rewards, MASK).item(), rel=EXACT)
    found = generalized_advantages(rewards, values, MASK)
    white = found.whitened(MASK)
    assert masked_mean(white, MASK).item() == pytest.approx(0, abs=EXACT)
    assert masked_variance(white, MASK).item() == pytest.approx(1, rel=1e-8)
    torch.testing.assert_close(found.returns[MASK], (found.advantages + values)[MASK], rtol=0, atol=0)


def test_nothing_real_is_no_division_by_zero() -> None:
    values, none = torch.full((2, 3), math.nan), torch.zeros(2, 3)
    assert masked_mean(values, none).item() == 0
    assert not masked_whiten(values, none).any()
    one = torch.tensor([[0, 1, 0], [0, 0, 0]])
    assert not masked_whiten(torch.ones(2, 3), one).any()


def test_all_in_fp32_whatever_comes_in() -> None:
    half = [random(s).bfloat16() for s in (0, 1, 2)]
    scores = torch.arange(7.0).bfloat16()
    found = token_rewards(half[0], half[1], scores, MASK, 0.05)
    advantages = generalized_advantages(found.rewards, half[2], MASK)
    assert found.rewards.dtype == advantages.advantages.dtype == torch.float32
    single = token_rewards(half[0].float(), half[1].float(), scores.float(), MASK, 0.05)
    assert torch.equal(found.rewards, single.rewards)
