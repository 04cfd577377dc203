"""The held-out text: disjoint, the same every time, and there even when documents are few."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from workbench.data import Prepared, TokenStore
from workbench.data.split import EVAL, split_sources, tail_start
from workbench.errors import DataError

PrepareData = Callable[..., Prepared]


def write(path: Path, texts: list[str]) -> str:
    path.write_bytes(b"".join(orjson.dumps({"text": text}) + b"\n" for text in texts))
    return str(path)


def texts_of(prepared: Prepared, store: TokenStore) -> list[str]:
    return [
        prepared.tokenizer.decode(store.document(index), skip_special_tokens=True)
        for index in range(store.num_documents)
    ]


def test_documents_are_held_out_whole_and_identical_ones_together(
    tmp_path: Path, prepare_data: PrepareData
) -> None:
    texts = [f"text number {number // 2}" for number in range(400)]
    source = write(tmp_path / "a.jsonl", texts)
    prepared = prepare_data(sources=source, eval_fraction=0.2)
    train, held_out = texts_of(prepared, prepared.train), texts_of(prepared, prepared.eval)
    assert sorted(train + held_out) == sorted(texts)
    assert not set(train) & set(held_out)
    assert 20 < len(set(held_out)) < 60
    assert prepared.report["split"] == "by document"
    assert prepared.report["documents"] == len(train)
    assert prepared.report["eval_documents"] == len(held_out)

    again = prepare_data(sources=source, eval_fraction=0.2, seed=0)
    assert texts_of(again, again.eval) == held_out
    other = prepare_data(sources=source, eval_fraction=0.2, seed=1)
    assert texts_of(other, other.eval) != held_out


def test_order_and_company_do_not_change_the_side_of_a_document() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**63, 1000).astype(np.uint64)
    together = split_sources([hashes], 0.1, 7).sides[0]
    apart = split_sources([hashes[500:], hashes[:500][::-1]], 0.1, 7).sides
    assert (np.concatenate([apart[1][::-1], apart[0]]) == together).all()


@pytest.mark.parametrize(("fraction", "held_out"), [(1e-6, 1), (0.999999, 19)])
def test_both_sides_have_a_document_when_there_are_twenty(fraction: float, held_out: int) -> None:
    hashes = np.arange(20, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert (split_sources([hashes], fraction, 0).sides[0] == EVAL).sum() == held_out


def test_of_few_documents_the_tail_is_held_out(tmp_path: Path, prepare_data: PrepareData) -> None:
    text = "".join(f"line {number} of the text\n" for number in range(1000))
    (tmp_path / "a.txt").write_text(text)
    prepared = prepare_data(sources=str(tmp_path / "a.txt"), eval_fraction=0.1)
    (head,), (tail,) = texts_of(prepared, prepared.train), texts_of(prepared, prepared.eval)
    assert head + tail == text
    assert tail.startswith("line 9")
    assert len(tail) == pytest.approx(len(text) / 10, rel=0.02)
    assert prepared.report["split"] == "tail of each document"
    assert prepared.train.num_bytes + prepared.eval.num_bytes == len(text.encode())


@pytest.mark.parametrize(
    ("text", "tail"),
    [
        ("one\ntwo\nthree\nfour\n", "four\n"),
        ("one two three four five six", "six"),
        ("x" * 100, "x" * 20),
        ("short\n" + "x" * 100, "x" * 100),
    ],
)
def test_the_tail_begins_at_a_line_or_a_word(text: str, tail: str) -> None:
    assert text[tail_start(text, 0.2) :] == tail


def test_nothing_is_held_out_when_nothing_should_be(tmp_path: Path, prepare_data: PrepareData) -> None:
    source = write(tmp_path / "a.jsonl", ["some text"] * 30)
    prepared = prepare_data(sources=source, eval_fraction=0)
    assert (prepared.train.num_documents, prepared.eval.num_documents) == (30, 0)
    assert (prepared.eval.num_tokens, prepared.eval.num_bytes) == (0, 0)
    assert prepared.report["split"] == "none"


def test_own_sources_are_held_out_and_dropped_from_training(
    tmp_path: Path, prepare_data: PrepareData
) -> None:
    source = write(tmp_path / "a.jsonl", [f"text {number}" for number in range(50)])
    other = write(tmp_path / "b.jsonl", ["text 7", "text 8", "new text"])
    fields: dict[str, Any] = {"sources": source, "eval_sources": other}
    prepared = prepare_data(**fields)
    train, held_out = texts_of(prepared, prepared.train), texts_of(prepared, prepared.eval)
    assert held_out == ["text 7", "text 8", "new text"]
    assert len(train) == 48
    assert not set(train) & set(held_out)
    assert prepared.report["dropped_from_train"] == 2
    assert prepared.report["split"] == "own sources"
    assert prepared.report["eval_sources"][0]["documents"] == 3


def test_training_text_that_is_all_held_out_is_refused(tmp_path: Path, prepare_data: PrepareData) -> None:
    source = write(tmp_path / "a.jsonl", ["one", "two"])
    with pytest.raises(DataError, match="every training document"):
        prepare_data(sources=source, eval_sources=source)
