"""PPO's losses and statistics against loops over Python floats, and what the first minibatch must show."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.objectives.ppo.losses import policy_loss, token_entropy, value_loss
from workbench.objectives.reductions import masked_mean

EXACT = 1e-12

LENGTHS = [5, 8, 1, 3]
MASK = torch.tensor([[t < n for t in range(8)] for n in LENGTHS])


def random(seed: int, spread: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = spread * torch.randn(4, 8, generator=generator, dtype=torch.float64)
    return values.masked_fill(~MASK, math.nan)


def tokens(*tensors: Tensor) -> list[tuple[float, ...]]:
    """The real tokens of all rows."""
    return [tuple(t[row, at].item() for t in tensors) for row, n in enumerate(LENGTHS) for at in range(n)]


@pytest.mark.parametrize("epsilon", [0.2, 0.05])
def test_policy_loss(epsilon: float) -> None:
    new, old, advantages = random(0, 0.3), random(1, 0.3), random(2)
    found = policy_loss(new, old, advantages, MASK, cliprange=epsilon)
    losses, clipped, changes, ratios = [], [], [], []
    for n, o, a in tokens(new, old, advantages):
        ratio = math.exp(n - o)
        kept = min(max(ratio, 1 - epsilon), 1 + epsilon)
        losses.append(-min(a * ratio, a * kept))
        clipped.append(float(a * kept < a * ratio))
        changes.append(n - o)
        ratios.append(ratio)
    assert 0 < sum(clipped) < len(clipped)
    assert found.loss.item() == pytest.approx(statistics.fmean(losses), rel=EXACT)
    assert found.clipfrac.item() == pytest.approx(statistics.fmean(clipped), rel=EXACT)
    assert found.approxkl.item() == pytest.approx(statistics.fmean(c * c / 2 for c in changes), rel=EXACT)
    assert found.policykl.item() == pytest.approx(-statistics.fmean(changes), rel=EXACT)
    assert found.ratio.item() == pytest.approx(statistics.fmean(ratios), rel=EXACT)


def test_first_minibatch_of_the_first_epoch() -> None:
    logprobs = random(0).float().requires_grad_()
    found = policy_loss(logprobs, logprobs, random(2), MASK)
    seen = (found.ratio, found.approxkl, found.policykl, found.clipfrac)
    assert [value.item() for value in seen] == [1, 0, 0, 0]
    # The gradient is that of plain policy gradient, −A/N at each real token.
    found.loss.backward()
    assert logprobs.grad is not None
    expected = -random(2).float().nan_to_num(0.0) / sum(LENGTHS)
    torch.testing.assert_close(logprobs.grad, expected, rtol=4 * 2**-24, atol=0)
    values = random(1)
    first = value_loss(values, values, random(0), MASK)
    assert first.clipfrac.item() == 0 and first.loss.item() == pytest.approx(first.error.item() / 2)


def test_clipping_takes_the_gradient_only_where_the_step_was_gained_already() -> None:
    old = torch.zeros(1, 4, dtype=torch.float64)
    new = torch.tensor([[1.5, 0.5, 1.5, 0.5]], dtype=torch.float64).log().requires_grad_()
    advantages = torch.tensor([[1.0, 1.0, -1.0, -1.0]])
    found = policy_loss(new, old, advantages, torch.ones(1, 4), cliprange=0.2)
    found.loss.backward()
    assert new.grad is not None
    expected = [0, -0.5 / 4, 1.5 / 4, 0]
    assert new.grad[0].tolist() == pytest.approx(expected, rel=EXACT)
    assert found.clipfrac.item() == 0.5


@pytest.mark.parametrize("epsilon", [0.2, 1.0])
def test_value_loss(epsilon: float) -> None:
    new, old, returns = random(0), random(1), random(2)
    found = value_loss(new, old, returns, MASK, cliprange_value=epsilon)
    plain, worse, clipped = [], [], []
    for v, o, r in tokens(new, old, returns):
        kept = min(max(v, o - epsilon), o + epsilon)
        plain.append((v - r) ** 2)
        worse.append(max((v - r) ** 2, (kept - r) ** 2))
        clipped.append(float((kept - r) ** 2 > (v - r) ** 2))
    assert 0 < sum(clipped) < len(clipped)
    assert found.loss.item() == pytest.approx(statistics.fmean(worse) / 2, rel=EXACT)
    assert found.error.item() == pytest.approx(statistics.fmean(plain), rel=EXACT)
    assert found.clipfrac.item() == pytest.approx(statistics.fmean(clipped), rel=EXACT)


def everything(rows: slice, pad: tuple[int, int] = (0, 0), count: int | None = None) -> list[float]:
    """All losses and statistics of some rows."""
    mask = F.pad(MASK[rows], pad)
    new, old, third = (F.pad(random(s, 0.3)[rows], pad, value=math.inf) for s in (0, 1, 2))
    entropy = F.pad(random(3)[rows], pad, value=math.nan)
    p = policy_loss(new, old, third, mask, denominator=count)
    v = value_loss(new, old, third, mask, denominator=count)
    found = (p.loss, p.approxkl, p.policykl, p.clipfrac, p.ratio, v.loss, v.clipfrac, v.error)
    return [value.item() for value in (*found, masked_mean(entropy, mask, count))]


def test_padding_never_dilutes_a_mean() -> None:
    assert everything(slice(0, 4), (3, 9)) == pytest.approx(everything(slice(0, 4)), rel=EXACT)


def test_micro_batches_of_unequal_tokens_add_up_to_the_minibatch() -> None:
    count = sum(LENGTHS)
    parts = [everything(part, count=count) for part in (slice(0, 1), slice(1, 4))]
    added = [a + b for a, b in zip(*parts, strict=True)]
    assert added == pytest.approx(everything(slice(0, 4)), rel=EXACT)


def test_entropy() -> None:
    logits = 3 * torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits[0, 0, 2] = -math.inf
    found = token_entropy(logits)
    for row in range(3):
        for at in range(5):
            weights = [math.exp(x) for x in logits[row, at].tolist()]
            shares = [w / math.fsum(weights) for w in weights]
            expected = -math.fsum(p * math.log(p) for p in shares if p)
            assert found[row, at].item() == pytest.approx(expected, rel=EXACT)
    assert token_entropy(torch.zeros(1, 50257)).item() == pytest.approx(math.log(50257), rel=1e-5)
    assert token_entropy(torch.zeros(2, 9, dtype=torch.bfloat16)).dtype == torch.float32


def test_gradients() -> None:
    new, old, third = (random(s, 0.3).nan_to_num(0.0) for s in (0, 1, 2))
    new.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: policy_loss(x, old, third, MASK).loss, new)
    assert torch.autograd.gradcheck(lambda x: value_loss(x, old, third, MASK).loss, new)
    assert torch.autograd.gradcheck(token_entropy, new)


def test_neither_infinities_at_padding_nor_half_precision_spoil_gradients() -> None:
    for dtype in (torch.bfloat16, torch.float32):
        new = random(0).nan_to_num(-math.inf).to(dtype).requires_grad_()
        loss = policy_loss(new, random(1).to(dtype), random(2).to(dtype), MASK).loss
        loss = loss + value_loss(new, random(1).to(dtype), random(2).to(dtype), MASK).loss
        assert loss.dtype == torch.float32
        loss.backward()
        assert new.grad is not None and new.grad.isfinite().all() and not new.grad[~MASK].any()


def test_one_advantage_for_a_whole_response() -> None:
    new, old, advantage = random(0, 0.3), random(1, 0.3), torch.tensor([[1.0], [-2.0], [0.5], [3.0]])
    found = policy_loss(new, old, advantage, MASK).loss
    assert found.item() == pytest.approx(policy_loss(new, old, advantage.expand(4, 8), MASK).loss.item())
