"""From the data section of a recipe to labelled examples, both sides of the split."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from workbench.data.artifact import key_of
from workbench.data.kinds import number_of
from workbench.data.records.checking import CHECKS
from workbench.data.records.encoding import encode_records
from workbench.data.records.reading import RecordSource
from workbench.data.records.store import ExampleStore
from workbench.data.scan import text_hash
from workbench.data.split import uniform
from workbench.data.ticker import READING, TOKENISING, Progress, Ticker
from workbench.errors import DataError
from workbench.recipe import DataSection, SourceSpec


@dataclass(frozen=True)
class PreparedRecords:
    """What training on a task needs of the data. `report` has the entries of `Prepared.report`, and also
    `label_counts`, `truncated`, `longest`, `kinds` (of each source, with why) and, for classification,
    `majority_accuracy`: what always answering the commonest label gets of the held-out examples."""

    key: str
    labels: tuple[str, ...]
    tokenizer: Any
    train: ExampleStore
    eval: ExampleStore
    report: dict[str, Any]


@dataclass
class _Read:
    """The checked records of some sources, where each stands, and what is told about the sources."""

    records: list[dict[str, Any]]
    places: list[str]
    sources: list[dict[str, Any]]


def prepare_records(
    data: DataSection,
    *,
    objective: str,
    tokenizer: Any,
    max_length: int,
    seed: int,
    cache: Path,
    progress: Progress,
) -> PreparedRecords:
    """Read, check, split and tokenise labelled records.

    Labels are those of the training records, in their order: whole numbers by value, others by name.
    Held out are the eval sources, or `eval_fraction` of the distinct records by their content. Raises
    `DataError` with file and line for what a record lacks.
    """
    began = time.monotonic()
    limit = min(max_length, int(getattr(tokenizer, "model_max_length", max_length)))
    train = _read(data.sources, objective, progress)
    held_out = _read(data.eval_sources, objective, progress)
    sources, eval_sources = train.sources, held_out.sources
    train, held_out, dropped, how = _split(train, held_out, data, seed)
    labels = _labels(train, objective)
    _check_labels(held_out, labels, objective)
    progress(TOKENISING, 0, None)
    stores = {
        side: encode_records(read.records, tokenizer, objective, limit, labels, side)
        for side, read in (("train", train), ("eval", held_out))
    }
    tokens, size = stores["train"].num_tokens, _bytes(train.records)
    report: dict[str, Any] = {
        "documents": len(train.records),
        "tokens": tokens,
        "bytes": size,
        "bytes_per_token": round(size / max(1, tokens), 4),
        "eval_documents": len(held_out.records),
        "eval_tokens": stores["eval"].num_tokens,
        "eval_bytes": _bytes(held_out.records),
        "split": how,
        "dropped_from_train": dropped,
        "blank_documents": 0,
        "invalid_utf8": 0,
        "cut_files": 0,
        "truncated": stores["train"].truncated + stores["eval"].truncated,
        "longest": max((int(s.lengths.max()) for s in stores.values() if len(s)), default=0),
        "vocab_size": len(tokenizer),
        "tokenizer": str(getattr(tokenizer, "name_or_path", "")),
        "sources": sources,
        "eval_sources": eval_sources,
        "cached": False,
        "seconds": round(time.monotonic() - began, 3),
        **_told_of_labels(train, held_out, objective),
    }
    digests = [store.digest() for store in stores.values()]
    key = key_of(digests, labels, limit)
    return PreparedRecords(key, labels, tokenizer, stores["train"], stores["eval"], report)


def _read(specs: Sequence[SourceSpec], objective: str, progress: Progress) -> _Read:
    found = [RecordSource.find(spec) for spec in specs]
    read = _Read([], [], [])
    ticker = Ticker(progress, READING)
    check: Callable[..., dict[str, Any]] = CHECKS[objective]
    for source in found:
        detected = source.detected
        if not _fits(detected.kind, objective):
            raise DataError(
                f"{objective} learns from records of its own kind, these are {detected.kind} "
                f"({detected.why})",
                where=source.spec.path,
                hint="name the columns that it needs: columns: {"
                + ", ".join(f"{need}: …" for need in NEEDS[objective])
                + "}",
            )
        begun, size = len(read.records), 0
        for record in source.records():
            checked = check(record)
            read.records.append(checked)
            read.places.append(record.where)
            own = _bytes([checked])
            size += own
            ticker.add(own)
        told = {"path": source.spec.path, "weight": source.spec.weight, "bytes": size}
        told |= {"documents": len(read.records) - begun, "kind": objective, "why": detected.why}
        read.sources.append(told)
    return read


NEEDS = {
    "classification": ("text", "label"),
    "regression": ("text", "label"),
    "tagging": ("tokens", "tags"),
    "span_extraction": ("question", "context", "answers"),
}


def _fits(kind: str, objective: str) -> bool:
    """Numbers may be labels, and whole numbers values."""
    return kind == objective or {kind, objective} == {"classification", "regression"}


def _bytes(records: Sequence[dict[str, Any]]) -> int:
    """UTF-8 bytes of the text of records, labels left out."""
    total = 0
    for record in records:
        for name in ("text", "text_pair", "question", "context"):
            total += len(record.get(name, "").encode(errors="replace"))
        total += sum(len(token.encode(errors="replace")) + 1 for token in record.get("tokens", ()))
    return total


def _split(train: _Read, held_out: _Read, data: DataSection, seed: int) -> tuple[_Read, _Read, int, str]:
    """Both sides; what is held out is left out of the training records, however it came there."""
    inputs = [_input_hash(record) for record in train.records]
    if held_out.records:
        known = {_input_hash(record) for record in held_out.records}
        keep = [number for number, hashed in enumerate(inputs) if hashed not in known]
        if not keep:
            raise DataError(
                "every training record is also in the held-out ones",
                where=", ".join(spec.path for spec in data.eval_sources),
                hint="name other records as data.eval_sources",
            )
        return _taken(train, keep), held_out, len(inputs) - len(keep), "own sources"
    if not data.eval_fraction or len(set(inputs)) < 2:
        return train, _Read([], [], []), 0, "none"
    hashes = np.array(inputs, np.uint64)
    draws = uniform(hashes, seed)
    chosen = draws < data.eval_fraction
    if not chosen.any():
        chosen = hashes == hashes[draws.argmin()]
    if chosen.all():
        chosen = hashes != hashes[draws.argmax()]
    return _taken(train, np.flatnonzero(~chosen)), _taken(train, np.flatnonzero(chosen)), 0, "by document"


def _taken(read: _Read, numbers: Any) -> _Read:
    return _Read([read.records[n] for n in numbers], [read.places[n] for n in numbers], read.sources)


def _input_hash(record: dict[str, Any]) -> int:
    """Of what a model reads of a record, not of what it is to say."""
    parts = [record.get(name) for name in ("text", "text_pair", "tokens", "question", "context")]
    return text_hash(orjson.dumps([_sound(part) for part in parts]))


def _sound(part: Any) -> Any:
    """Text without halves of surrogate pairs, which JSON can spell and UTF-8 cannot."""
    if isinstance(part, str):
        return part.encode(errors="replace").decode()
    return [_sound(item) for item in part] if isinstance(part, list) else part


def _labels(read: _Read, objective: str) -> tuple[str, ...]:
    if objective == "classification":
        found = {record["label"] for record in read.records}
        if len(found) < 2:
            raise DataError(
                f"all training records have the label “{next(iter(found), '')}”",
                where=read.places[0] if read.places else "",
                hint="a classification has at least two labels",
            )
    elif objective == "tagging":
        found = {tag for record in read.records for tag in record["tags"]}
    else:
        return ()
    numbers = {label: number_of(label) for label in found}
    if None not in numbers.values():
        return tuple(sorted(found, key=lambda label: (numbers[label] or 0.0, label)))
    # O first, then each type with its B- before its I-, as in the scheme.
    return tuple(
        sorted(found, key=lambda label: (label != "O", label[2:] if label[1:2] == "-" else label, label))
    )


def _check_labels(read: _Read, labels: tuple[str, ...], objective: str) -> None:
    known = set(labels)
    for record, place in zip(read.records, read.places, strict=True):
        for label in record["tags"] if objective == "tagging" else [record.get("label")] if labels else []:
            if label not in known:
                raise DataError(
                    f"the held-out label “{label}” is in no training record",
                    where=place,
                    hint=f"the labels are: {', '.join(labels[:20])}",
                )


def _told_of_labels(train: _Read, held_out: _Read, objective: str) -> dict[str, Any]:
    if objective == "tagging":
        return {"label_counts": dict(Counter(t for r in train.records for t in r["tags"]).most_common())}
    if objective != "classification":
        return {}
    counts = Counter(record["label"] for record in train.records)
    commonest = counts.most_common(1)[0][0]
    told: dict[str, Any] = {"label_counts": dict(counts.most_common())}
    if held_out.records:
        right = sum(record["label"] == commonest for record in held_out.records)
        told["majority_accuracy"] = right / len(held_out.records)
    return told
