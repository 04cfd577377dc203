"""A row shared among ranks: what all of them make of it together is what one makes of it alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from workbench.training.parallel import context
from workbench.training.parallel.context import Share, attend

BATCH, LENGTH, HEADS, KV_HEADS, SIZE = 2, 24, 4, 2, 8


PACKED = [[7, 17], [15, 1, 8]]


def shares(ranks: int, rows: list[list[int]]) -> list[Share]:
    """The shares of rows of documents of these lengths."""
    positions = np.stack([np.concatenate([np.arange(length) for length in row]) for row in rows])
    return [Share.of(None, rank, ranks, positions, torch.device("cpu")) for rank in range(ranks)]


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("rows", [PACKED, [[LENGTH]] * BATCH])
def test_attention_of_all_ranks_is_that_of_one(
    monkeypatch: pytest.MonkeyPatch, ranks: int, window: int | None, rows: list[list[int]]
) -> None:
    torch.manual_seed(0)
    query = torch.randn(BATCH, HEADS, LENGTH, SIZE)
    key, value = torch.randn(2, BATCH, KV_HEADS, LENGTH, SIZE)
    numbers = [np.repeat(np.arange(len(row)), row) for row in rows]
    documents = torch.from_numpy(np.stack(numbers))
    module: Any = SimpleNamespace(num_key_value_groups=HEADS // KV_HEADS, is_causal=True, training=False)
    everyone = shares(ranks, rows)

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
    everyone = shares(4, [[32]])
    seen = [sum(int(share.mask(piece, None).sum()) for piece in share.pieces) for share in everyone]
    assert len(set(seen)) == 1


def test_masks_are_as_wide_as_what_is_seen() -> None:
    (share, *_) = shares(3, PACKED)
    # Pieces of 4: the second piece of row 1 ends in its first document, the last ones see none of it.
    spans = [share.span(piece, None) for piece in range(6)]
    assert spans == [(0, 4), (0, 8), (0, 12), (0, 16), (7, 20), (7, 24)]
    assert [share.span(piece, 5)[0] for piece in range(6)] == [0, 0, 4, 8, 12, 16]
    assert share.mask(5, None).shape == (2, 1, 4, 17)
    (whole, *_) = shares(3, [[24], [24]])
    # Rows that see the same share a mask.
    assert whole.mask(5, 5).shape == (1, 1, 4, 8)
    assert whole.is_causal(None) and not whole.is_causal(5) and not share.is_causal(None)


@pytest.mark.parametrize("keys", [4, 12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_needs_no_mask_is_computed_without(keys: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    query = torch.randn(BATCH, HEADS, 4, SIZE, dtype=dtype)
    key, value = torch.randn(2, BATCH, KV_HEADS, keys, SIZE, dtype=dtype)
    module: Any = SimpleNamespace(num_key_value_groups=HEADS // KV_HEADS, is_causal=True, training=False)
    seen = torch.arange(keys)[None] <= torch.arange(keys - 4, keys)[:, None]
    expected, _ = attend(module, query, key, value, seen[None, None])
    # Half precision rounds probabilities and outputs, of values up to three.
    within = 1e-6 if dtype == torch.float32 else 3 * 2**-7
    assert torch.allclose(context._causal(module, query, key, value), expected, atol=within)
