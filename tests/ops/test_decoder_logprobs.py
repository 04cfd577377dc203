"""Log-probabilities of a trained head by native code: those of all logits, with and without gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from workbench.ops.decoder_training import blocks
from workbench.ops.decoder_training.logprobs import target_logprobs

PLACES, SIZE, VOCABULARY = 40, 48, 4099
EPSILON = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-9}


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(PLACES, SIZE, generator=generator)
    weight = torch.randn(VOCABULARY, SIZE, generator=generator) / SIZE**0.5
    targets = torch.randint(0, VOCABULARY, (PLACES,), generator=generator)
    return hidden, weight, targets, torch.randn(PLACES, generator=generator)


def found_of(way: Callable[[Tensor, Tensor, Tensor], Tensor], hidden: Tensor, weight: Tensor) -> list[Tensor]:
    _, _, targets, factors = inputs()
    hidden, weight = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    said = way(hidden, weight, targets)
    return [said.detach(), *torch.autograd.grad((said * factors).sum(), (hidden, weight))]


def plain(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    logits = linear(hidden, weight)
    wide = torch.promote_types(logits.dtype, torch.float32)
    return logits.to(wide).log_softmax(-1).gather(1, targets[:, None])[:, 0]


@pytest.mark.parametrize("chunk", [1 << 27, 1])
@pytest.mark.parametrize("dtype", EPSILON, ids=["fp32", "bf16"])
def test_they_are_those_of_all_logits(
    dtype: torch.dtype, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "CHUNK", chunk)
    monkeypatch.setattr(blocks, "LEAST_ROWS", 13)
    hidden, weight, targets, _ = inputs()
    exact = found_of(plain, hidden.double(), weight.double())
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        mine, theirs = found_of(target_logprobs, hidden, weight), found_of(plain, hidden, weight)
        with torch.no_grad():
            assert torch.equal(target_logprobs(hidden, weight, targets), mine[0])
    for own, other, right in zip(mine, theirs, exact, strict=True):
        wrong = [float((x.double() - right).norm() / right.norm()) for x in (own, other)]
        # As wrong as the plain way, but for the order of sums and one more rounding of what is multiplied.
        assert wrong[0] < 1.1 * wrong[1] + SIZE**0.5 * EPSILON[torch.float32] + (
            0 if dtype == torch.float32 else EPSILON[dtype]
        )


def test_a_target_outside_the_vocabulary_is_refused() -> None:
    hidden, weight, targets, _ = inputs()
    with pytest.raises(ValueError, match="outside a vocabulary of 4099"):
        target_logprobs(hidden, weight, targets - VOCABULARY)
