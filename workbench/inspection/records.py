"""Single records of a source: a page of them, and those that contain a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from workbench.data.records.reading import Record, RecordSource
from workbench.data.ticker import Ticker
from workbench.errors import UsageError
from workbench.inspection.values import shown
from workbench.recipe import SourceSpec, validate

if TYPE_CHECKING:
    from workbench.inspection.requests import Progress

MOST_RECORDS = 500
SEARCHING = "searching"
SKIPPING = "going to the record"


@dataclass
class _Cursor:
    """Where a reader of a source stands, so that the next page does not begin at the first record."""

    key: bytes
    records: Iterator[Record]
    position: int = 0


_last: list[_Cursor] = []


def spec_of(source: str | Mapping[str, Any]) -> SourceSpec:
    """A source as a recipe writes it: a path, or a mapping. Raises `RecipeError`."""
    return validate({"data": {"sources": [source]}}, "the source").data.sources[0]


def records(
    source: str | Mapping[str, Any], progress: Progress, start: int = 0, count: int = 20
) -> dict[str, Any]:
    """`count` records from number `start` on. Raises `DataError`."""
    cursor = _cursor(source, start, progress)
    count = min(count, MOST_RECORDS)
    # One by one, for a record may be as large as its file.
    found = [as_shown(record, index) for index, record in enumerate(islice(cursor.records, count), start)]
    cursor.position += len(found)
    _last[:] = [cursor]
    return {"start": start, "records": found, "more": len(found) == count}


def _cursor(source: str | Mapping[str, Any], start: int, progress: Progress) -> _Cursor:
    found = RecordSource.find(spec_of(source))
    key = orjson.dumps([found.spec.model_dump(mode="json"), found.source.signature()], default=str)
    cursor = _last[0] if _last else None
    _last.clear()  # an error on the way leaves none behind
    if cursor is None or cursor.key != key or cursor.position > start:
        cursor = _Cursor(key, iter(found.records()))
    ticker = Ticker(progress, SKIPPING, start)
    for _ in islice(cursor.records, start - cursor.position):
        cursor.position += 1
        ticker.add(1)
    return cursor


def as_shown(record: Record, index: int) -> dict[str, Any]:
    """`index`, `where`, `values` with long ones cut, and `cut`: the full length of those."""
    values, cut = shown(record.values)
    return {"index": index, "where": record.where, "values": values, "cut": cut}


def search(
    source: str | Mapping[str, Any], text: str, progress: Progress, start: int = 0, count: int = 1
) -> dict[str, Any]:
    """The first `count` records from number `start` on that contain a text, in any column and any case.

    `index` is the first of them, None for none; `next` is where to go on, None when the source was read
    to its end.
    """
    if not text:
        raise UsageError("there is nothing to search for")
    wanted, found, searched = text.casefold(), list[dict[str, Any]](), 0
    ticker = Ticker(progress, SEARCHING)
    for index, record in enumerate(islice(RecordSource.find(spec_of(source)).records(), start, None), start):
        ticker.add(1)
        searched += 1
        if contains(record.values, wanted):
            found.append(as_shown(record, index))
            if len(found) == min(count, MOST_RECORDS):
                return _matches(found, searched, index + 1)
    return _matches(found, searched, None)


def _matches(found: list[dict[str, Any]], searched: int, following: int | None) -> dict[str, Any]:
    index = found[0]["index"] if found else None
    return {"index": index, "records": found, "searched": searched, "next": following}


def contains(value: Any, wanted: str) -> bool:
    """Whether a casefolded text stands anywhere in a value."""
    if isinstance(value, dict):
        return any(contains(item, wanted) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(contains(item, wanted) for item in value)
    return value is not None and wanted in str(value).casefold()
