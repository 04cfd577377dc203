"""A row shared among ranks: what all of them make of it together is what one makes of it alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from workbench.training.parallel import context
from workbench.training.parallel.context import Share, attend

BATCH, LENGTH, HEADS, KV_HEADS, SIZE = 2, 24, 4, 2, 8


def shares(ranks: int, documents: Tensor) -> list[Share]:
    return [Share(None, rank, ranks, documents) for rank in range(ranks)]  # type: ignore[arg-type]


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("window", [None, 5])
def test_attention_of_all_ranks_is_that_of_one(
    monkeypatch: pytest.MonkeyPatch, ranks: int, window: int | None
) -> None:
    torch.manual_seed(0)
    query = torch.randn(BATCH, HEADS, LENGTH, SIZE)
    key, value = torch.randn(2, BATCH, KV_HEADS, LENGTH, SIZE)
    documents = torch.tensor([[0] * 7 + [1] * 17, [0] * LENGTH])
    module: Any = SimpleNamespace(num_key_value_groups=HEADS // KV_HEADS, is_causal=True, training=False)
    everyone = shares(ranks, documents)

    def gathered(own: Tensor, group: Any) -> Tensor:
        return torch.stack([torch.stack([_part(share, key), _part(share, value)]) for share in everyone])

    monkeypatch.setattr(context._Gather, "apply", gathered)
    found = torch.zeros(BATCH, LENGTH, HEADS, SIZE)
    places = torch.arange(LENGTH)[None].expand(BATCH, -1)
    for share in everyone:
        own = [_part(share, part) for part in (query, key, value)]
        output, _ = attend(module, own[0], own[1], own[2], None, context_share=share, sliding_window=window)
        found[:, share.take(places)[0]] = output
    distance = places[0][:, None] - places[0][None]
    seen = (documents[:, :, None] == documents[:, None, :]) & (distance >= 0)
    if window is not None:
        seen &= distance < window
    expected, _ = attend(module, query, key, value, seen[:, None])
    assert torch.allclose(found, expected, atol=1e-6)


def _part(share: Share, whole: Tensor) -> Tensor:
    """This rank's places of [B, H, T, d]."""
    return share.take(whole.transpose(1, 2)).transpose(1, 2)


def test_work_is_the_same_on_all_ranks() -> None:
    documents = torch.zeros(1, 32, dtype=torch.int64)
    seen = [
        sum(int(share.mask(piece, None).sum()) for piece in share.pieces) for share in shares(4, documents)
    ]
    assert len(set(seen)) == 1
