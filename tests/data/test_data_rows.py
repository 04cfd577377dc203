"""Rows: each token a target once, nothing cropped, any row at any time, the same for a seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from workbench.data import Batch, PackedRows, Row, TokenStore
from workbench.data.rows import NO_TARGET, PADDING
from workbench.errors import DataError

MakeStore = Callable[..., TokenStore]


def distinct(lengths: list[int]) -> list[list[int]]:
    """Documents whose tokens all differ, so that each can be recognised in a row."""
    ends = np.cumsum([1, *lengths])
    return [list(range(start, end)) for start, end in pairwise(ends.tolist())]


def some_lengths(seed: int = 0, count: int = 60) -> list[int]:
    rng = random.Random(seed)
    return [rng.choice([1, 2, 3, 7, 8, 9, 16, 17, 50]) for _ in range(count)]


def targets_of(rows: PackedRows, epoch: int) -> Counter[int]:
    found: Counter[int] = Counter()
    for index in range(rows.rows_per_epoch(epoch)):
        row = rows.row(epoch, index)
        found.update(row.targets[row.targets != NO_TARGET].tolist())
    return found


@pytest.mark.parametrize("length", [4, 8, 16, 61])
@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("epoch", [0, 3])
def test_every_token_but_the_first_of_a_document_is_a_target_once(
    make_store: MakeStore, length: int, packing: bool, epoch: int
) -> None:
    documents = distinct(some_lengths())
    rows = PackedRows(make_store(documents), length, packing=packing, seed=5)
    assert targets_of(rows, epoch) == Counter(token for ids in documents for token in ids[1:])


@pytest.mark.parametrize("packing", [True, False])
def test_documents_that_are_left_out_are_gone_from_later_epochs(make_store: MakeStore, packing: bool) -> None:
    documents = distinct([*some_lengths(), 200])
    rows, plain = (PackedRows(make_store(documents), 8, packing=packing, seed=5) for _ in range(2))
    first = rows.rows_per_epoch(0)
    long = [place for place in range(first) if rows.documents_of(0, place) == [60]]
    place = next(place for place in range(first) if rows.documents_of(0, place) != [60])
    # For one row of a long document the rest of it is not given up.
    assert long and not rows.leave_out(long[0], long[0] + 1, 1)
    assert rows.epoch_of(first) == 1 and rows.leave_out(place, place + 1, 1)
    out = set(rows.documents_of(0, place)) - {60}
    for epoch, gone in ((0, set()), (1, out), (4, out)):
        kept = [ids for number, ids in enumerate(documents) if number not in gone]
        assert targets_of(rows, epoch) == Counter(token for ids in kept for token in ids[1:])
    second = rows.rows_per_epoch(1)
    assert rows.locate(first + second) == (2, 0) and rows.locate(first - 1) == (0, first - 1)
    assert (rows.batch(0, first).input_ids == plain.batch(0, first).input_ids).all()


def test_without_isolation_only_the_first_token_of_the_epoch_is_no_target(make_store: MakeStore) -> None:
    documents = distinct(some_lengths())
    rows = PackedRows(make_store(documents), 8, isolate=False, shuffle=False)
    assert targets_of(rows, 0) == Counter(token for ids in documents for token in ids if token != 1)
    for index in range(rows.rows_per_epoch(0)):
        assert rows.row(0, index).position_ids.tolist() == list(range(8))


@pytest.mark.parametrize("packing", [True, False])
def test_a_target_is_the_token_after_its_input_in_the_same_document(
    make_store: MakeStore, packing: bool
) -> None:
    documents = distinct(some_lengths(1))
    begins = {ids[0] for ids in documents}
    length = {token: len(ids) - place for ids in documents for place, token in enumerate(ids)}
    rows = PackedRows(make_store(documents), 8, packing=packing, seed=2)
    for index in range(rows.rows_per_epoch(1)):
        row = rows.row(1, index)
        assert row.num_targets == (row.targets != NO_TARGET).sum()
        last_document, position = PADDING, 0
        for token, target, place, document in zip(
            row.input_ids, row.targets, row.position_ids, row.document_ids, strict=True
        ):
            if document == PADDING:
                assert (target, place) == (NO_TARGET, 0)
                continue
            same = document == last_document
            assert same != (token in begins) or position == 0
            position = position + 1 if same else 0
            assert place == position
            last_document = document
            assert target == (token + 1 if length[token] > 1 else NO_TARGET)


def test_only_the_last_row_of_an_epoch_is_padded(make_store: MakeStore) -> None:
    lengths = some_lengths(3)
    rows = PackedRows(make_store(distinct(lengths)), 8, shuffle=False)
    last = rows.rows_per_epoch(0) - 1
    assert last == -(-(sum(lengths) - 1) // 8) - 1
    padding = [int((rows.row(0, index).document_ids == PADDING).sum()) for index in range(last + 1)]
    assert not any(padding[:-1])
    report = rows.report()
    assert report["padding"] == padding[-1]
    assert report["cropped"] == 0
    assert report["efficiency"] == pytest.approx(1 - padding[-1] / (8 * (last + 1)), abs=1e-6)


@pytest.mark.parametrize("total", [9, 16, 17, 18, 24, 25])
def test_sizes_around_the_end_of_a_row(make_store: MakeStore, total: int) -> None:
    rows = PackedRows(make_store([list(range(1, total + 1))]), 8, shuffle=False)
    batch = rows.batch(0, rows.rows_per_epoch(0))
    found = batch.targets[batch.targets != NO_TARGET].tolist()
    assert found == list(range(2, total + 1))
    assert batch.num_targets == total - 1
    assert rows.report()["padding"] == (batch.document_ids == PADDING).sum()


def test_unpacked_rows_hold_one_piece_each(make_store: MakeStore) -> None:
    rows = PackedRows(
        make_store([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [11], [12, 13]]), 4, packing=False, shuffle=False
    )
    found = [rows.row(0, index) for index in range(rows.rows_per_epoch(0))]
    assert [row.input_ids.tolist() for row in found] == [
        [1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 0, 0], [12, 13, 0, 0],
    ]  # fmt: skip
    none = NO_TARGET
    assert [row.targets.tolist() for row in found] == [
        [2, 3, 4, 5], [6, 7, 8, 9], [10, none, none, none], [13, none, none, none],
    ]  # fmt: skip
    assert found[2].document_ids.tolist() == [0, 0, PADDING, PADDING]
    assert rows.report() == {"rows": 4, "tokens": 13, "padding": 4, "efficiency": 0.75, "cropped": 0}


def fields(rows: Row | Batch) -> list[list[object]]:
    """All arrays of a row or batch as lists."""
    return [
        rows.input_ids.tolist(),
        rows.targets.tolist(),
        rows.position_ids.tolist(),
        rows.document_ids.tolist(),
    ]


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (2.0, 0.3)])
def test_any_row_at_any_time_is_the_row_of_the_sequence(
    make_store: MakeStore, packing: bool, weights: tuple[float, ...]
) -> None:
    documents = distinct(some_lengths(4, 80))
    store = make_store(documents, sources=[index % 2 for index in range(80)], weights=weights)
    rows = PackedRows(store, 8, packing=packing, seed=9)
    sequence = [rows.row(epoch, index) for epoch in range(4) for index in range(rows.rows_per_epoch(epoch))]
    assert rows.first_row(4) == len(sequence)

    other = PackedRows(store, 8, packing=packing, seed=9)
    order = list(range(len(sequence)))
    random.Random(0).shuffle(order)
    for place in order:
        epoch, index = other.locate(place)
        assert other.first_row(epoch) + index == place
        assert fields(other.row(epoch, index)) == fields(sequence[place])
    start = rows.first_row(1) - 3
    batch = other.batch(start, 7)
    assert batch.input_ids.shape == (7, 8)
    for place in range(7):
        assert [field[place] for field in fields(batch)] == fields(sequence[start + place])
    assert batch.num_targets == sum(row.num_targets for row in sequence[start : start + 7])


def order_of(rows: PackedRows, epoch: int) -> list[int]:
    """The first tokens of documents in the order an epoch has them."""
    begins = set(np.asarray(rows.store.tokens)[np.asarray(rows.store.offsets)[:-1]].tolist())
    ids = [rows.row(epoch, index).input_ids for index in range(rows.rows_per_epoch(epoch))]
    return [token for token in np.concatenate(ids).tolist() if token in begins]


def test_epochs_differ_and_are_the_same_for_a_seed(make_store: MakeStore) -> None:
    store = make_store(distinct([5] * 50))
    orders = [order_of(PackedRows(store, 8, seed=1), epoch) for epoch in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == [1 + 5 * number for number in range(50)]
    assert order_of(PackedRows(store, 8, seed=2), 0) != orders[0]
    plain = PackedRows(store, 8, seed=1, shuffle=False)
    assert order_of(plain, 0) == order_of(plain, 1) == sorted(orders[0])


def test_the_order_of_a_seed_never_changes(make_store: MakeStore) -> None:
    rows = PackedRows(make_store(distinct([3] * 8)), 8, seed=42)
    assert order_of(rows, 0) == [7, 16, 13, 4, 10, 19, 1, 22]
    assert order_of(rows, 1) == [16, 13, 7, 22, 19, 1, 4, 10]


def test_neighbours_in_a_document_are_spread_over_the_epoch(make_store: MakeStore) -> None:
    rows = PackedRows(make_store([list(range(1, 802))]), 8, seed=1)
    firsts = [int(rows.row(0, index).input_ids[0]) for index in range(100)]
    assert sorted(firsts) == list(range(1, 801, 8))
    assert sum(after - before == 8 for before, after in pairwise(firsts)) < 5
    assert firsts != [int(rows.row(1, index).input_ids[0]) for index in range(100)]


def test_weights_are_met_over_the_epochs(make_store: MakeStore) -> None:
    sources = [0] * 10 + [1] * 10 + [2] * 10
    store = make_store(distinct([4] * 30), sources=sources, weights=(2.0, 0.5, 1.3))
    rows = PackedRows(store, 8, seed=3)
    seen: Counter[int] = Counter()
    for epoch in range(10):
        here = Counter((token - 1) // 40 for token in order_of(rows, epoch))
        assert here == {0: 20, 1: 5, 2: 13}
        seen.update(order_of(rows, epoch))
        # Every document of a source comes before any comes a second time more.
        for source in range(3):
            counts = [seen[1 + 4 * document] for document in range(10 * source, 10 * source + 10)]
            assert max(counts) - min(counts) <= 1
    assert [seen[1 + 4 * document] for document in range(30)] == [20] * 10 + [5] * 10 + [13] * 10


def test_weights_may_be_given_and_hold_without_shuffling(make_store: MakeStore) -> None:
    store = make_store(distinct([4] * 6), sources=[0, 0, 0, 1, 1, 1], weights=(1.0, 1.0))
    rows = PackedRows(store, 8, shuffle=False, weights=(2.0, 1.0))
    assert order_of(rows, 0) == [1, 5, 9, 13, 17, 21, 1, 5, 9]


def test_text_shorter_than_a_row_is_refused(make_store: MakeStore) -> None:
    store = make_store(distinct([5, 3, 4]))
    with pytest.raises(DataError, match=r"12 tokens, one row of 12 takes 13") as caught:
        PackedRows(store, 12)
    assert "data.max_length of at most 11" in caught.value.hint
    assert PackedRows(store, 11).rows_per_epoch(0) == 1
    assert PackedRows(store, 12, packing=False).rows_per_epoch(0) == 3
    with pytest.raises(DataError, match="by weight"):
        PackedRows(store, 11, weights=(0.5,))
    with pytest.raises(DataError, match="too short"):
        PackedRows(make_store([[1], [2], [3]]), 8, packing=False)


def test_held_out_text_may_be_short_or_missing(make_store: MakeStore) -> None:
    short = PackedRows(make_store(distinct([5]), side="eval"), 64)
    assert short.rows_per_epoch(0) == 1
    assert short.batch(0, 1).num_targets == 4
    empty = PackedRows(make_store([], side="eval"), 64)
    assert empty.rows_per_epoch(0) == 0
    assert empty.report()["efficiency"] == 0.0
    with pytest.raises(DataError, match="not one row"):
        empty.batch(0, 1)


def test_a_row_outside_the_epoch(make_store: MakeStore) -> None:
    rows = PackedRows(make_store(distinct([20])), 8)
    for index in (-1, rows.rows_per_epoch(0)):
        with pytest.raises(IndexError):
            rows.row(0, index)
