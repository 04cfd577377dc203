"""What there is in the sources of a recipe: files, records, columns, the kind and why, and what is wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.data.readers.records import kind_of
from workbench.data.records.checking import CHECKS
from workbench.data.records.reading import Record, RecordSource
from workbench.data.ticker import Ticker
from workbench.errors import DataError
from workbench.inspection.values import shown
from workbench.recipe import SourceSpec, validate

if TYPE_CHECKING:
    from workbench.inspection.requests import Progress

COUNTING = "counting records"
COUNTING_SECONDS = 20.0
"""After so long the count of a source is left at “at least”."""

DESCRIBED = 1000
"""Records that columns are described from."""

MOST_PROBLEMS = 20
MOST_FILES = 200
EXAMPLE = 80


@dataclass
class _Column:
    """What the first records hold in one column."""

    types: Counter[str] = field(default_factory=Counter)
    example: str = ""

    def add(self, value: Any) -> None:
        self.types[kind_of(value)] += 1
        if not self.example and value not in (None, "", [], {}):
            small, _ = shown(value)
            text = small if isinstance(small, str) else str(small)
            self.example = text if len(text) <= EXAMPLE else text[: EXAMPLE - 1] + "…"


@dataclass
class _Seen:
    """What a pass over a source found."""

    records: int = 0
    complete: bool = False
    columns: dict[str, _Column] = field(default_factory=dict)
    problems: list[dict[str, str]] = field(default_factory=list)
    num_problems: int = 0

    def complain(self, error: DataError) -> None:
        self.num_problems += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(error.as_dict())


def sources(data: Mapping[str, Any], progress: Progress, seconds: float = COUNTING_SECONDS) -> dict[str, Any]:
    """All sources of a data section, held-out ones behind; `seconds` is what counting one may take.

    What is wrong with a source is among its `problems`. Raises `RecipeError` for a section that is none.
    """
    section = validate({"data": dict(data)}, "the data").data
    return {
        "sources": [
            _described(spec, side, progress, seconds)
            for side, specs in (("train", section.sources), ("eval", section.eval_sources))
            for spec in specs
        ]
    }


def _described(spec: SourceSpec, side: str, progress: Progress, seconds: float) -> dict[str, Any]:
    seen, kind, why, files = _Seen(), None, "", list[dict[str, Any]]()
    found = None
    try:
        found = RecordSource.find(spec)
        files = [{"path": str(path), "bytes": path.stat().st_size} for path in found.source.files]
        kind, why = found.detected.kind, found.detected.why
    except DataError as error:
        seen.complain(error)
    except OSError as error:
        seen.complain(DataError(f"it cannot be read: {error.strerror}", where=str(error.filename)))
    if found is not None:
        _read(found, kind, seen, progress, seconds)
    return {
        "path": spec.path,
        "side": side,
        "weight": spec.weight,
        "files": files[:MOST_FILES],
        "num_files": len(files),
        "bytes": sum(file["bytes"] for file in files),
        "records": seen.records,
        "complete": seen.complete,
        "kind": kind,
        "why": why,
        "columns": [
            {"name": name, "types": dict(column.types.most_common()), "example": column.example}
            for name, column in seen.columns.items()
        ],
        "problems": seen.problems,
        "num_problems": seen.num_problems,
    }


def _read(source: RecordSource, kind: str | None, seen: _Seen, progress: Progress, seconds: float) -> None:
    check = CHECKS.get(kind or "")
    ticker, deadline = Ticker(progress, COUNTING), time.monotonic() + seconds
    try:
        for record in source.records():
            seen.records += 1
            ticker.add(1)
            if seen.records <= DESCRIBED:
                for name, value in record.values.items():
                    seen.columns.setdefault(str(name), _Column()).add(value)
            if check is not None:
                _check(check, record, seen)
            if time.monotonic() > deadline:
                return
        seen.complete = True
    except DataError as error:
        if error.as_dict() not in seen.problems:
            seen.complain(error)


def _check(check: Any, record: Record, seen: _Seen) -> None:
    try:
        check(record)
    except DataError as error:
        seen.complain(error)
