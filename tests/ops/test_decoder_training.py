"""The operators of a trained decoder by themselves: the head's loss, and every level of instructions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from workbench.ops.decoder_training import blocks, native, products
from workbench.ops.decoder_training.attention import Documents
from workbench.ops.decoder_training.head import summed_cross_entropy
from workbench.ops.decoder_training.layer import LayerShape, LayerWeights, layer

PLACES, SIZE, VOCABULARY = 40, 48, 4099
EPSILON = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-9}
Found = list[Tensor]


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(PLACES, SIZE, generator=generator)
    weight = torch.randn(VOCABULARY, SIZE, generator=generator)
    targets = torch.randint(0, VOCABULARY, (PLACES,), generator=generator)
    targets[3] = -100
    targets[:3] = (hidden[:3] @ weight.T).argmax(1)
    return hidden, weight, targets


def plain(hidden: Tensor, weight: Tensor, targets: Tensor, z_loss: float) -> Found:
    hidden, weight = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    logits = linear(hidden, weight)
    wide = torch.promote_types(logits.dtype, torch.float32)
    loss = cross_entropy(logits.to(wide), targets, reduction="sum")
    loss = loss + z_loss * logits.to(wide)[targets >= 0].logsumexp(1).square().sum()
    return [loss.detach(), *torch.autograd.grad(loss / 7, (hidden, weight))]


def ours(hidden: Tensor, weight: Tensor, targets: Tensor, z_loss: float) -> Found:
    hidden, weight = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    loss, stats, peaks = summed_cross_entropy(hidden, weight, targets, z_loss)
    log_z = linear(hidden, weight).detach().float()[targets >= 0].logsumexp(1)
    expected = [3.0, float(log_z.sum()), z_loss * float(log_z.square().sum())]
    assert stats.tolist() == pytest.approx(expected, rel=1e-5)
    assert peaks.item() == pytest.approx(float(log_z.max()), rel=1e-5)
    return [loss.detach(), *torch.autograd.grad(loss / 7, (hidden, weight))]


def errors(found: Found, exact: Found) -> list[float]:
    pairs = zip(found, exact, strict=True)
    return [float((mine.double() - right).norm() / right.norm()) for mine, right in pairs]


@pytest.mark.parametrize(("chunk", "z_loss"), [(1 << 27, 0.0), (1, 0.0), (1, 0.02)])
@pytest.mark.parametrize("dtype", EPSILON, ids=["fp32", "bf16"])
def test_the_loss_of_a_trained_head_and_its_gradients(
    dtype: torch.dtype, chunk: int, z_loss: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "CHUNK", chunk)
    monkeypatch.setattr(blocks, "LEAST_ROWS", 13)
    hidden, weight, targets = inputs()
    exact = plain(hidden.double(), weight.double(), targets, z_loss)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        mine = ours(hidden, weight, targets, z_loss)
        theirs = plain(hidden, weight, targets, z_loss)
    # As wrong as the plain way, but for the order of sums.
    for own, other in zip(errors(mine, exact), errors(theirs, exact), strict=True):
        assert own < 1.1 * other + SIZE**0.5 * EPSILON[torch.float32]


def test_bad_targets_and_a_second_backward_pass_are_refused() -> None:
    hidden, weight, targets = inputs()
    with pytest.raises(ValueError, match="a target is 4099, outside a vocabulary of 4099"):
        summed_cross_entropy(hidden, weight, targets.where(targets >= 0, VOCABULARY))
    loss = summed_cross_entropy(hidden.requires_grad_(), weight, targets).loss
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="taken already"):
        loss.backward()
    none, stats, _ = summed_cross_entropy(hidden, weight.requires_grad_(), torch.full_like(targets, -100))
    none.backward()
    assert float(none.detach()) == 0 and not stats.any() and weight.grad is not None and not weight.grad.any()


def test_what_is_not_finite_is_not_hidden() -> None:
    hidden, weight, targets = inputs()
    weight[7, 0] = torch.nan
    assert torch.isnan(summed_cross_entropy(hidden, weight, targets)[0])


def layer_case() -> tuple[Tensor, Tensor, Tensor, LayerWeights, LayerShape, Documents]:
    """A layer of 64 with 4 heads on 2 of 16: half a head is half a vector."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).div_(shape[-1] ** 0.5).requires_grad_()

    weights = LayerWeights(
        random(64), random(64, 64), random(32, 64), random(32, 64), random(64, 64), random(64),
        random(96, 64), random(96, 64), random(64, 96), random(64), random(32), random(32),
    )  # fmt: skip
    angles = torch.rand(1, 19, 8, generator=generator).repeat(1, 1, 2) * 6
    documents = Documents([(0, 0, 12), (0, 12, 17), (1, 0, 19)], torch.tensor([17, 18]))
    return random(2, 19, 64), angles.cos(), angles.sin(), weights, LayerShape(16, 1e-5, 1e-6, 0.25), documents


def run_layer(half: bool) -> list[Tensor]:
    hidden, cos, sin, weights, shape, documents = layer_case()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        out = layer(hidden, cos, sin, weights, shape, documents)
    learned = [weight for weight in weights if weight is not None]
    return [out.detach(), *torch.autograd.grad(out.square().sum(), (hidden, *learned))]


def test_any_instructions_and_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The portable code rounds otherwise than that of this processor, several threads share the rows."""
    threads = torch.get_num_threads()
    for half in (False, True):
        expected = run_layer(half)
        torch.set_num_threads(3)
        try:
            several = run_layer(half)
        finally:
            torch.set_num_threads(threads)
        library = native.compiled("-DWORKBENCH_PORTABLE")
        with monkeypatch.context() as patch:
            patch.setattr(native, "library", lambda code=library: code)
            portable = run_layer(half)
        bound = 20 * 96**0.5 * EPSILON[torch.float32] if not half else 8 * EPSILON[torch.bfloat16]
        for mine, more, other in zip(expected, several, portable, strict=True):
            assert float((more - mine).norm() / mine.norm()) < bound
            assert float((other - mine).norm() / mine.norm()) < bound


def test_fp32_products_are_the_same_by_either_library(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(37, size, generator=generator) for size in (48, 20))
    weight, bias = torch.randn(20, 48, generator=generator), torch.randn(20, generator=generator)
    expected = x @ weight.T + bias, y @ weight, y.T @ x
    for choice in {products.prefers_onednn(), False}:
        monkeypatch.setattr(products, "prefers_onednn", lambda choice=choice: choice)
        found = (
            products.times_transposed(x, weight, bias),
            products.times(y, weight),
            products.transposed_times(y, x),
        )
        for mine, right in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, right, rtol=0, atol=48 * 2.0**-24 * 48)
