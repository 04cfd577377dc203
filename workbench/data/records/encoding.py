"""Checked records to token arrays, by a fast tokenizer and its own frame."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from workbench.data.records.store import NO_TARGET, ExampleStore
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
) -> ExampleStore:
    """Records that were checked, as rows of at most `max_length` tokens; with what is to be predicted where
    they are labelled. `labels` names the labels in the order of their numbers.
    """
    if kind == "span_extraction":
        return _spans(records, tokenizer, max_length, side)
    columns = _Columns()
    numbers = {label: number for number, label in enumerate(labels)}
    values = array("d")
    token_labels = array("q")
    labelled = bool(records) and ("tags" if kind == "tagging" else "label") in records[0]
    for batch in _batches(records):
        if kind == "tagging":
            encoded = tokenizer(
                [record["tokens"] for record in batch],
                is_split_into_words=True,
                truncation=True,
                max_length=max_length,
            )
        else:
            encoded = _sentences(batch, tokenizer, max_length)
        for place, record in enumerate(batch):
            columns.add(encoded, place)
            if kind == "tagging" and labelled:
                words = encoded.encodings[place].word_ids
                tags = first_pieces(words, [numbers[tag] for tag in record["tags"]])
                token_labels.extend(tags)
                columns.truncated += sum(tag != NO_TARGET for tag in tags) < len(record["tags"])
            elif kind == "tagging":
                words = encoded.encodings[place].word_ids
                token_labels.extend(first_pieces(words, range(len(record["tokens"]))))
            elif labelled:
                values.append(numbers[record["label"]] if labels else record["label"])
    return columns.store(
        side,
        tuple(labels),
        list(records),
        tokenizer,
        max_length,
        token_labels=np.frombuffer(token_labels, np.int64) if kind == "tagging" else None,
        values=np.frombuffer(values, np.float64) if labelled and kind != "tagging" else None,
    )


def first_pieces(words: Sequence[int | None], values: Sequence[int]) -> list[int]:
    """The value of a word at its first piece, NO_TARGET at the others and in the frame."""
    found, before = [], None
    for word in words:
        found.append(values[word] if word is not None and word != before else NO_TARGET)
        before = word
    return found


def _sentences(batch: Sequence[Mapping[str, Any]], tokenizer: Any, max_length: int) -> Any:
    pairs = [record.get("text_pair") for record in batch]
    texts = [record["text"] for record in batch]
    if any(pair is not None for pair in pairs):
        return tokenizer(
            texts, [pair or "" for pair in pairs], truncation="longest_first", max_length=max_length
        )
    return tokenizer(texts, truncation=True, max_length=max_length)


def _spans(records: Sequence[Mapping[str, Any]], tokenizer: Any, max_length: int, side: str) -> ExampleStore:
    columns = _Columns()
    spans, characters = array("q"), array("i")
    first = 0
    for batch in _batches(records):
        _check_questions(batch, tokenizer, max_length)
        encoded = tokenizer(
            [record["question"] for record in batch],
            [record["context"] for record in batch],
            truncation="only_second",
            max_length=max_length,
            stride=max_length // OVERLAP,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        for place, record_number in enumerate(encoded["overflow_to_sample_mapping"]):
            columns.add(encoded, place, first + record_number)
            sequence = encoded.encodings[place].sequence_ids
            places = [
                pair if part == 1 else (-1, -1)
                for pair, part in zip(encoded["offset_mapping"][place], sequence, strict=True)
            ]
            for begin, end in places:
                characters.extend((begin, end))
            spans.extend(answer_tokens(places, batch[record_number].get("answers") or []))
        first += len(batch)
    return columns.store(
        side,
        (),
        list(records),
        tokenizer,
        max_length,
        spans=np.frombuffer(spans, np.int64).reshape(-1, 2),
        characters=np.frombuffer(characters, np.int32).reshape(-1, 2),
    )


def _check_questions(batch: Sequence[Mapping[str, Any]], tokenizer: Any, max_length: int) -> None:
    """A question must leave half of the window to the context."""
    for record, ids in zip(batch, tokenizer([r["question"] for r in batch])["input_ids"], strict=True):
        if len(ids) > max_length // 2:
            raise DataError(
                f"a question of {len(ids)} tokens leaves too little of {max_length} to its context",
                where=f"“{record['question'][:60]}”",
                hint=f"a data.max_length of at least {2 * len(ids)}, or a shorter question",
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


class _Columns:
    """Rows as they come, one behind the other."""

    def __init__(self) -> None:
        self.ids, self.types, self.offsets, self.examples = (
            array("i"),
            array("b"),
            array("q", [0]),
            array("q"),
        )
        self.truncated = 0

    def add(self, encoded: Any, place: int, example: int | None = None) -> None:
        ids = encoded["input_ids"][place]
        self.ids.extend(ids)
        if "token_type_ids" in encoded:
            self.types.extend(encoded["token_type_ids"][place])
        self.offsets.append(self.offsets[-1] + len(ids))
        if example is None:
            self.truncated += bool(encoded.encodings[place].overflowing)
        self.examples.append(len(self.examples) if example is None else example)

    def store(
        self,
        side: str,
        labels: tuple[str, ...],
        records: list[Any],
        tokenizer: Any,
        max_length: int,
        **more: Any,
    ) -> ExampleStore:
        pad = tokenizer.pad_token_id
        return ExampleStore(
            side,
            labels,
            np.frombuffer(self.ids, np.int32),
            np.frombuffer(self.offsets, np.int64),
            np.frombuffer(self.examples, np.int64),
            records,
            token_type_ids=np.frombuffer(self.types, np.int8) if len(self.types) else None,
            pad_token_id=0 if pad is None else int(pad),
            max_length=max_length,
            truncated=self.truncated,
            left_padded=getattr(tokenizer, "padding_side", "right") == "left",
            pad_type_id=int(getattr(tokenizer, "pad_token_type_id", 0) or 0),
            **more,
        )


def _batches(records: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    stream = iter(records)
    while batch := list(islice(stream, BATCH)):
        yield batch
