"""Pieces: every token in one place, frames made anew where a document is cut, rows that fit."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from workbench.data import TokenStore
from workbench.data.framing import Frame
from workbench.data.pieces import PieceRows

MakeStore = Callable[..., TokenStore]
FRAMES = [Frame(), Frame((1,), (2,)), Frame((), (2, 1)), Frame((), (2,))]
LENGTH = 16


def framed(frame: Frame, lengths: list[int]) -> list[list[int]]:
    """Documents whose tokens all differ, each in its frame."""
    ends = np.cumsum([10, *lengths]).tolist()
    return [[*frame.prefix, *range(start, end), *frame.suffix] for start, end in pairwise(ends)]


def some_lengths(seed: int = 0, count: int = 40) -> list[int]:
    rng = random.Random(seed)
    return [rng.choice([1, 2, 3, 7, 8, 9, 13, 14, 15, 16, 17, 50]) for _ in range(count)]


def rows_of(store: TokenStore, frame: Frame, *, packing: bool, seed: int = 3) -> PieceRows:
    return PieceRows(store, LENGTH, stride=LENGTH - frame.size, frame=frame, packing=packing, seed=seed)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("epoch", [0, 2])
def test_an_epoch_holds_every_token_once_and_no_row_is_too_long(
    make_store: MakeStore, frame: Frame, packing: bool, epoch: int
) -> None:
    lengths = some_lengths()
    rows = rows_of(make_store(framed(frame, lengths)), frame, packing=packing)
    seen: Counter[int] = Counter()
    for row in rows.rows(rows.first_row(epoch), rows.rows_per_epoch(epoch)):
        size = sum(len(piece.tokens) + frame.size for piece in row.pieces)
        assert 0 < size <= LENGTH
        assert packing or len(row.pieces) == 1
        for piece in row.pieces:
            body = rows.body(piece.document)
            assert (body[piece.start : piece.start + len(piece.tokens)] == piece.tokens).all()
            seen.update(piece.tokens.tolist())
    assert seen == Counter(range(10, 10 + sum(lengths)))


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("packing", [True, False])
def test_the_report_counts_what_the_rows_hold(make_store: MakeStore, frame: Frame, packing: bool) -> None:
    rows = rows_of(make_store(framed(frame, some_lengths(1))), frame, packing=packing)
    report = rows.report()
    count = rows.rows_per_epoch(0)
    used = sum(len(piece.tokens) + frame.size for row in rows.rows(0, count) for piece in row.pieces)
    assert report["rows"] == count
    assert report["padding"] == count * LENGTH - used
    assert report["efficiency"] == pytest.approx(used / (count * LENGTH), abs=1e-6)


def test_a_row_is_the_same_however_it_is_asked_for(make_store: MakeStore) -> None:
    frame = Frame((1,), (2,))
    store = make_store(framed(frame, some_lengths(2)))
    rows, count = rows_of(store, frame, packing=True), 0
    count = rows.rows_per_epoch(0)
    several = rows.rows(count - 3, 8)
    for row in several:
        alone = rows_of(store, frame, packing=True).rows(row.index, 1)[0]
        assert alone.index == row.index
        assert [piece.tokens.tolist() for piece in alone.pieces] == [p.tokens.tolist() for p in row.pieces]
    assert [row.index for row in several] == list(range(count - 3, count + 5))
