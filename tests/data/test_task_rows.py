"""Batches of labelled examples: the same for a seed from any place on, of like length, nothing left out."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from workbench.data.records import ExampleStore, TaskRows
from workbench.errors import DataError
from workbench.objectives.answer_rows import PackedAnswerRows


def without(out: list[int]) -> list[int]:
    return sorted(set(range(203)) - set(out))


def store(lengths: list[int], **fields: Any) -> ExampleStore:
    """Rows whose tokens are their own number, labelled by it."""
    count = len(lengths)
    return ExampleStore(
        "train",
        tuple(str(number) for number in range(count)),
        np.repeat(np.arange(count), lengths).astype(np.int32),
        np.cumsum([0, *lengths]).astype(np.int64),
        np.arange(count, dtype=np.int64),
        [{} for _ in lengths],
        token_type_ids=np.zeros(sum(lengths), np.int8),
        values=np.arange(count, dtype=np.float64),
        pad_token_id=999,
        max_length=64,
        **fields,
    )


LENGTHS = [3 + number * 37 % 58 for number in range(203)]


def test_a_batch_holds_its_rows_padded_to_a_multiple_of_eight() -> None:
    batch = TaskRows(store([3, 9, 5]), shuffle=False).batch(0, 3)
    assert batch["input_ids"].shape == (3, 16)
    assert batch["attention_mask"].sum(1).tolist() == [3, 9, 5]
    assert batch["input_ids"][2].tolist() == [2] * 5 + [999] * 11
    assert batch["labels"].tolist() == batch["examples"].tolist() == [0, 1, 2]
    assert batch["token_type_ids"].shape == (3, 16)
    # Never wider than a row may be.
    assert TaskRows(store([60, 61]), shuffle=False).batch(0, 2)["input_ids"].shape == (2, 64)


@pytest.mark.parametrize("bucketing", [0, 8])
def test_rows_that_are_left_out_are_gone_from_later_epochs(bucketing: int) -> None:
    rows, plain = (TaskRows(store(LENGTHS), seed=3, batch_bucketing=bucketing) for _ in range(2))
    out = rows.indices(200, 6).tolist()
    assert rows.epoch_of(202) == 0 and rows.epoch_of(205) == 1
    assert rows.leave_out(200, 206, 2)
    # What has been read stays as it was read.
    assert rows.indices(0, 406).tolist() == plain.indices(0, 406).tolist()
    left = 203 - len(set(out))
    assert sorted(rows.indices(406, left).tolist()) == without(out) == sorted(rows.order(7).tolist())
    assert [rows.epoch_of(406 + place) for place in (0, left - 1, left)] == [2, 2, 3]
    more = rows.indices(406, 3).tolist()
    assert rows.leave_out(406, 409, 3) and sorted(rows.order(3).tolist()) == without(out + more)
    assert len(rows.order(2)) == left
    # Never more than half of all.
    assert not rows.leave_out(0, 100, 4) and len(rows.order(4)) == left - 3


def test_records_that_share_a_row_are_left_out_together() -> None:
    rows = PackedAnswerRows(TaskRows(store(LENGTHS), seed=3, batch_bucketing=0), 3, True)
    first = rows.rows_per_epoch(0)
    out = [member for row in (first - 1, first) for member in rows.members_of(row)]
    assert [rows.epoch_of(row) for row in (0, first - 1, first)] == [0, 0, 1]
    second = rows.rows_per_epoch(1)
    assert rows.leave_out(first - 1, first + 1, 2)
    assert rows.rows_per_epoch(1) == second
    found = [rows.members_of(first + second + row) for row in range(rows.rows_per_epoch(2))]
    assert sorted(sum(found, [])) == without(out)


@pytest.mark.parametrize("bucketing", [0, 8, 32])
def test_every_epoch_holds_every_row_once_in_an_order_of_its_own(bucketing: int) -> None:
    rows = TaskRows(store(LENGTHS), seed=3, batch_bucketing=bucketing)
    epochs = [rows.order(epoch).tolist() for epoch in range(3)]
    assert all(Counter(order) == Counter(range(203)) for order in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert TaskRows(store(LENGTHS), seed=3, batch_bucketing=bucketing).order(1).tolist() == epochs[1]
    assert TaskRows(store(LENGTHS), seed=4, batch_bucketing=bucketing).order(1).tolist() != epochs[1]


def test_any_batch_is_the_same_whatever_was_asked_before() -> None:
    rows = TaskRows(store(LENGTHS), seed=1, batch_bucketing=8)
    through = [rows.batch(start, 8)["examples"].tolist() for start in range(0, 203 * 3, 8)]
    for number in (70, 25, 26, 0, 51):
        fresh = TaskRows(store(LENGTHS), seed=1, batch_bucketing=8)
        assert fresh.batch(number * 8, 8)["examples"].tolist() == through[number]
        assert rows.batch(number * 8, 8)["examples"].tolist() == through[number]
    flat = [example for batch in through for example in batch]
    assert Counter(flat[:203]) == Counter(range(203))
    assert rows.batch(200, 6)["examples"].tolist() == flat[200:206]


@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_batches_are_of_like_length_in_all_epochs(epoch: int) -> None:
    """203 rows are no multiple of 8: batches of later epochs still hold whole groups."""
    examples = store(LENGTHS)
    rows = TaskRows(examples, seed=0, batch_bucketing=8)
    first = -(-rows.first_row(epoch) // 8) * 8
    spreads = [np.ptp(examples.lengths[rows.indices(start, 8)]) for start in range(first, first + 24 * 8, 8)]
    assert np.median(spreads) <= 4


def test_neighbouring_batches_are_not_sorted_by_length() -> None:
    examples = store(LENGTHS * 5)
    rows = TaskRows(examples, seed=0, batch_bucketing=8)
    means = np.array([examples.lengths[rows.indices(start, 8)].mean() for start in range(0, 1008, 8)])
    assert abs(np.corrcoef(means[1:], means[:-1])[0, 1]) < 0.3


def test_the_report_compares_with_batches_that_are_not_sorted() -> None:
    report = TaskRows(store(LENGTHS), batch_bucketing=8).report()
    assert report["rows"] == 203
    assert report["tokens"] == sum(LENGTHS)
    assert report["efficiency"] > 0.8 > report["unsorted_efficiency"]
    places = report["tokens"] + report["padding"]
    assert report["efficiency"] == round(report["tokens"] / places, 6)
    histogram = TaskRows(store([3, 8, 9, 30])).length_histogram()
    assert histogram == [(8, 2), (16, 1), (32, 1)]


def test_held_out_rows_stand_in_the_order_of_the_file() -> None:
    rows = TaskRows(store(LENGTHS), shuffle=False)
    assert rows.batch(10, 4)["examples"].tolist() == [10, 11, 12, 13]
    assert rows.length == 64


def test_no_rows() -> None:
    rows = TaskRows(store([]), shuffle=False)
    assert rows.rows_per_epoch(0) == 0
    with pytest.raises(DataError, match="not one record"):
        rows.batch(0, 1)
