"""Labelled records from files to examples: labels, both sides of the split, and what is told of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.data.small_tokenizers import WORDS, small_tokenizer
from workbench.data.records import ExampleStore, PreparedRecords, TaskRows, prepare_records
from workbench.errors import DataError
from workbench.recipe import DataSection


def write(path: Path, records: Iterable[object]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def prepare(
    *paths: Path, objective: str = "classification", seed: int = 0, max_length: int = 64, **fields: Any
) -> PreparedRecords:
    sources = [str(path) for path in paths] or fields.pop("sources")
    return prepare_records(
        DataSection(sources=sources, **fields),
        objective=objective,
        tokenizer=small_tokenizer(),
        max_length=max_length,
        seed=seed,
        cache=Path("/nowhere"),
        progress=lambda what, done, total: None,
    )


def texts(count: int, first: int = 0) -> list[str]:
    return [f"{WORDS[n % len(WORDS)]} film {n}" for n in range(first, first + count)]


def labelled(count: int, labels: tuple[object, ...] = ("no", "yes"), first: int = 0) -> list[dict[str, Any]]:
    return [{"text": text, "label": labels[n % len(labels)]} for n, text in enumerate(texts(count, first))]


def test_a_fraction_is_held_out_by_content_and_equal_texts_stay_together(tmp_path: Path) -> None:
    records = labelled(200)
    prepared = prepare(write(tmp_path / "a.jsonl", records + records[:100]), eval_fraction=0.2)
    train = {record["text"] for record in prepared.train.records}
    held_out = {record["text"] for record in prepared.eval.records}
    assert not train & held_out
    assert len(train | held_out) == 200
    assert 20 < len(held_out) < 60
    assert prepared.report["split"] == "by document"
    assert prepared.report["documents"] + prepared.report["eval_documents"] == 300
    # In another order of the file the same ones are held out; by another seed, others.
    again = prepare(write(tmp_path / "b.jsonl", records[::-1]), eval_fraction=0.2)
    assert {record["text"] for record in again.eval.records} == held_out
    other = prepare(tmp_path / "b.jsonl", eval_fraction=0.2, seed=1)
    assert {record["text"] for record in other.eval.records} != held_out


def test_of_own_sources_what_is_held_out_is_dropped_from_training(tmp_path: Path) -> None:
    train = write(tmp_path / "a.jsonl", labelled(20))
    held_out = write(tmp_path / "b.jsonl", labelled(6, first=16))
    prepared = prepare(train, eval_sources=[str(held_out)])
    assert (len(prepared.train), len(prepared.eval)) == (16, 6)
    assert prepared.report["dropped_from_train"] == 4
    assert prepared.report["split"] == "own sources"
    assert prepared.report["eval_sources"][0]["documents"] == 6
    assert prepared.report["majority_accuracy"] == 0.5
    with pytest.raises(DataError, match="every training record is also"):
        prepare(train, eval_sources=[str(train)])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ((10, 9, 1), ("1", "9", "10")),
        (("b", "a", "B"), ("B", "a", "b")),
        (("10", 9, 2.0), ("2", "9", "10")),
        ((True, False), ("False", "True")),
        (("2", "ten"), ("2", "ten")),
    ],
)
def test_labels_are_in_an_order_of_their_own(
    tmp_path: Path, labels: tuple[object, ...], expected: tuple[str, ...]
) -> None:
    prepared = prepare(write(tmp_path / "a.jsonl", labelled(40, labels)))
    assert prepared.labels == expected
    assert sum(prepared.report["label_counts"].values()) == len(prepared.train)


def test_a_label_that_only_held_out_records_have(tmp_path: Path) -> None:
    train = write(tmp_path / "a.jsonl", labelled(20))
    held_out = write(tmp_path / "b.jsonl", labelled(3, ("yes", "maybe"), first=30))
    with pytest.raises(DataError, match="held-out label “maybe” is in no training record") as caught:
        prepare(train, eval_sources=[str(held_out)])
    assert caught.value.where == f"{held_out}:2"
    assert "no, yes" in caught.value.hint


def test_the_only_records_of_a_label_are_trained_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [*labelled(30), *({"text": f"x{n}", "label": n} for n in range(20))])
    prepared = prepare(path, eval_fraction=0.5)
    assert len(prepared.labels) == 22
    assert 5 < len(prepared.eval) < 25
    assert {record["label"] for record in prepared.eval.records} <= {"no", "yes"}


def test_tags_are_ordered_by_the_scheme_and_iob1_is_turned_into_iob2(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("the I-PER\nfox I-PER\nwrote O\n\nthe I-ORG\ndog B-ORG\nsleeps O\n\n" * 4)
    prepared = prepare(path, objective="tagging", eval_fraction=0)
    assert prepared.labels == ("O", "B-ORG", "B-PER", "I-PER")
    assert prepared.train.records[1]["tags"] == ["B-ORG", "B-ORG", "O"]
    assert prepared.report["sources"][0]["scheme"] == "IOB1"
    assert (prepared.report["split"], len(prepared.eval)) == ("none", 0)


def test_regression_tells_its_range(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", labelled(40, (0, 2.5, 5)))
    prepared = prepare(path, objective="regression", eval_fraction=0.1)
    assert prepared.labels == ()
    assert prepared.report["label_range"] == [0.0, 5.0]
    assert isinstance(prepared.train, ExampleStore)
    batch = TaskRows(prepared.train).batch(0, 8)
    assert batch["labels"].dtype.kind == "f"
    assert set(batch["labels"].tolist()) <= {0.0, 2.5, 5.0}


def test_spans(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [
        {"question": f"who sleeps {n}?", "context": "the lazy dog sleeps",
         "answers": {"text": ["dog"], "answer_start": [9]} if n % 4 else {"text": [], "answer_start": []}}
        for n in range(40)
    ]  # fmt: skip
    prepared = prepare(write(tmp_path / "a.jsonl", records), objective="span_extraction")
    without = sum(not record["answers"] for record in prepared.train.records)
    assert prepared.report["unanswerable"] == without > 0
    assert prepared.report["documents"] == len(prepared.train.records)


def test_blank_records_are_left_out_and_all_is_counted(tmp_path: Path) -> None:
    records = [*labelled(10), {"text": " ", "label": "no"}, {"text": "long " * 90, "label": "no"}]
    records += [{"text": records[0]["text"], "label": "yes"}, {"text": "half \ud800", "label": "yes"}]
    prepared = prepare(write(tmp_path / "a.jsonl", records), eval_fraction=0)
    report = prepared.report
    assert report["blank_documents"] == 1
    assert report["invalid_utf8"] == 1
    assert report["truncated"] == 1
    assert report["longest"] == 64
    assert report["conflicting_labels"] == 2
    assert report["documents"] == len(prepared.train) == 13
    assert report["tokens"] == prepared.train.num_tokens == int(prepared.train.lengths.sum())
    expected = sum(len(record["text"].encode()) for record in prepared.train.records)
    assert report["bytes"] == report["sources"][0]["bytes"] == expected
    assert report["sources"][0]["kind"] == "classification"


def test_the_key_stands_for_what_is_learnt(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", labelled(30))
    key = prepare(path).key
    assert prepare(write(tmp_path / "copy.jsonl", labelled(30))).key == key
    assert prepare(path, seed=3).key != key
    assert prepare(path, max_length=16).key != key
    assert prepare(write(tmp_path / "b.jsonl", labelled(30, ("yes", "no")))).key != key
    assert prepare(sources=[{"path": str(path), "weight": 2}]).key != key


def test_a_source_of_weight_two_is_seen_twice(tmp_path: Path) -> None:
    one = write(tmp_path / "a.jsonl", labelled(20))
    two = write(tmp_path / "b.jsonl", labelled(11, first=50))
    sources = [{"path": str(one), "weight": 2}, {"path": str(two), "weight": 0.5}]
    prepared = prepare(sources=sources, eval_fraction=0)
    assert isinstance(prepared.train, ExampleStore)
    rows = TaskRows(prepared.train, seed=1)
    assert [rows.rows_per_epoch(epoch) for epoch in range(3)] == [45, 46, 45]
    assert rows.first_row(2) == 91
    found = rows.batch(0, 91)["examples"].tolist()
    assert sorted(found) == sorted([*(list(range(20)) * 4), *range(20, 31)])
    assert rows.batch(44, 3)["examples"].tolist() == found[44:47]


@pytest.mark.parametrize(
    ("objective", "records", "message", "where"),
    [
        ("classification", labelled(5, ("a",)), "all training records have the label “a”", ":1"),
        ("classification", [{"text": f"t{n}", "label": n} for n in range(80)], "80 different labels", ":1"),
        ("classification", [*labelled(3), {"text": "a"}], "the record has no label", ":4"),
        ("regression", [*labelled(3, (0.5,)), {"text": "a", "label": "b"}], "“b” is no number", ":4"),
        ("tagging", labelled(3), "tagging learns from records with tokens, tags; these are classif", ""),
        ("span_extraction", labelled(3), "records with question, context, answers", ""),
        ("tagging", [{"tokens": ["a"], "tags": ["O", "O"]}], "1 words and 2 tags", ":1"),
        ("classification", [{"text": " ", "label": 1}] * 3, "only 3 blank ones", ""),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, objective: str, records: list[object], message: str, where: str
) -> None:
    path = write(tmp_path / "a.jsonl", records)
    with pytest.raises(DataError) as caught:
        prepare(path, objective=objective, eval_fraction=0)
    assert message in caught.value.message
    assert caught.value.where == f"{path}{where}"


def test_progress_is_told_of_both_stages(tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    prepare_records(
        DataSection(sources=str(write(tmp_path / "a.jsonl", labelled(30)))),
        objective="classification",
        tokenizer=small_tokenizer(),
        max_length=32,
        seed=0,
        cache=tmp_path,
        progress=lambda *now: told.append(now),
    )
    assert {what for what, _, _ in told} == {"reading the records", "tokenising"}
