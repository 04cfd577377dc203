"""Checked records to token arrays, by a fast tokenizer and its own frame."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from workbench.data.records.answers import encode_answers
from workbench.data.records.columns import Columns
from workbench.data.records.framed import Framed
from workbench.data.records.store import NO_TARGET, ExampleStore
from workbench.data.ticker import TOKENISING, Progress, Ticker
from workbench.errors import DataError

BATCH = 512
OVERLAP = 4
"""Of a window over a long context, a quarter of its length is seen again in the next."""


def encode_records(
    records: Sequence[Mapping[str, Any]],
    tokenizer: Any,
    kind: str,
    max_length: int,
    labels: Sequence[str] = (),
    side: str = "eval",
    progress: Progress | None = None,
    places: Sequence[str] = (),
) -> ExampleStore:
    """Records that were checked, as rows of at most `max_length` tokens; with what is to be predicted where
    they are labelled. `labels` names the labels in the order of their numbers.

    Tagging without tags has the number of each word where the tag would stand. `progress` hears of records;
    `places`, where each stands, are for errors.
    """
    ticker = Ticker(progress or _silent, TOKENISING, len(records))
    if kind == "sft":
        answers = encode_answers(records, tokenizer, max_length, side, ticker, places)
        ticker.finish()
        return answers
    encode = {"span_extraction": _spans, "tagging": _tagging}.get(kind, _sentences)
    store = encode(records, tokenizer, max_length, labels, side, ticker)
    ticker.finish()
    return store


def _silent(what: str, done: int, total: int | None) -> None:
    pass


def _sentences(
    records: Sequence[Mapping[str, Any]],
    tokenizer: Any,
    max_length: int,
    labels: Sequence[str],
    side: str,
    ticker: Ticker,
) -> ExampleStore:
    framed, columns = Framed(tokenizer, max_length), Columns()
    numbers = {label: number for number, label in enumerate(labels)}
    labelled, values, cut = bool(records) and "label" in records[0], array("d"), 0
    for first, batch in _batches(records):
        texts = [record["text"] for record in batch]
        encodings = framed.sentences(texts, [record.get("text_pair") for record in batch])
        for number, (record, encoding) in enumerate(zip(batch, encodings, strict=True), first):
            columns.add(encoding, number, framed.has_types)
            cut += bool(encoding.overflowing)
            if labelled:
                values.append(numbers[record["label"]] if labels else record["label"])
        ticker.add(len(batch))
    return columns.store(
        side,
        tuple(labels),
        list(records),
        tokenizer,
        max_length,
        values=np.frombuffer(values, np.float64) if labelled else None,
        truncated=cut,
    )


def _tagging(
    records: Sequence[Mapping[str, Any]],
    tokenizer: Any,
    max_length: int,
    labels: Sequence[str],
    side: str,
    ticker: Ticker,
) -> ExampleStore:
    framed, columns = Framed(tokenizer, max_length, words=True), Columns()
    numbers = {label: number for number, label in enumerate(labels)}
    labelled, tags, cut, cut_words = bool(records) and "tags" in records[0], array("q"), 0, 0
    for first, batch in _batches(records):
        encodings = framed.words([record["tokens"] for record in batch])
        for number, (record, encoding) in enumerate(zip(batch, encodings, strict=True), first):
            columns.add(encoding, number, framed.has_types)
            count = len(record["tokens"])
            of_words = [numbers[tag] for tag in record["tags"]] if labelled else range(count)
            own = first_pieces(encoding.word_ids, of_words)
            tags.extend(own)
            missing = count - sum(tag != NO_TARGET for tag in own)
            cut += bool(encoding.overflowing)
            cut_words += missing
        ticker.add(len(batch))
    return columns.store(
        side,
        tuple(labels),
        list(records),
        tokenizer,
        max_length,
        token_labels=np.frombuffer(tags, np.int64),
        truncated=cut,
        cut_words=cut_words,
    )


def first_pieces(words: Sequence[int | None], values: Sequence[int]) -> list[int]:
    """The value of a word at its first piece, NO_TARGET at the others and in the frame."""
    found: list[int] = []
    before: int | None = None
    for word in words:
        found.append(values[word] if word is not None and word != before else NO_TARGET)
        before = word
    return found


def _spans(
    records: Sequence[Mapping[str, Any]],
    tokenizer: Any,
    max_length: int,
    labels: Sequence[str],
    side: str,
    ticker: Ticker,
) -> ExampleStore:
    framed, columns = Framed(tokenizer, max_length), Columns()
    stride = max_length // OVERLAP
    spans, characters = array("q"), array("i")
    for first, batch in _batches(records):
        questions = [record["question"] for record in batch]
        _check_questions(framed, questions, stride)
        windows = framed.windows(questions, [record["context"] for record in batch], stride)
        for number, (record, parts) in enumerate(zip(batch, windows, strict=True), first):
            for encoding in parts:
                columns.add(encoding, number, framed.has_types)
                places = [
                    place if part == 1 else (-1, -1)
                    for place, part in zip(encoding.offsets, encoding.sequence_ids, strict=True)
                ]
                for place in places:
                    characters.extend(place)
                spans.extend(answer_tokens(places, record.get("answers") or []))
        ticker.add(len(batch))
    return columns.store(
        side,
        (),
        list(records),
        tokenizer,
        max_length,
        spans=np.frombuffer(spans, np.int64).reshape(-1, 2),
        characters=np.frombuffer(characters, np.int32).reshape(-1, 2),
    )


def _check_questions(framed: Framed, questions: Sequence[str], stride: int) -> None:
    """A question must leave a third of the window to the context, and more than what windows share."""
    room = max(framed.max_length // 3, stride + 1)
    for question, size in zip(questions, framed.sizes(questions), strict=True):
        if size + framed.pair_frame + room > framed.max_length:
            raise DataError(
                f"a question of {size} tokens leaves too little of {framed.max_length} to its context",
                where=f"“{question[:60]}”",
                hint=f"a data.max_length of at least {(size + framed.pair_frame + 1) * 3 // 2 + 2}, "
                "or a shorter question",
            )


def answer_tokens(places: Sequence[tuple[int, int]], answers: Sequence[tuple[str, int]]) -> tuple[int, int]:
    """First and last token of the first answer; (0, 0) where the window does not hold all of it."""
    if not answers:
        return 0, 0
    text, begin = answers[0]
    end = begin + len(text)
    inside = [number for number, (a, b) in enumerate(places) if a >= 0 and a < end and b > begin]
    if not inside or places[inside[0]][0] > begin or places[inside[-1]][1] < end:
        return 0, 0
    return inside[0], inside[-1]


def _batches(
    records: Iterable[Mapping[str, Any]],
) -> Iterator[tuple[int, list[Mapping[str, Any]]]]:
    """The number of its first record, and a batch."""
    stream, first = iter(records), 0
    while batch := list(islice(stream, BATCH)):
        yield first, batch
        first += len(batch)
