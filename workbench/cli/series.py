"""A run's metrics for commands: last and best values, and records in force."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from workbench.errors import UsageError, storage_error
from workbench.store.metrics import MetricsTail, parse, read_metrics
from workbench.store.runs import Run

READ_BYTES = 1 << 22


def last_values(run: Run) -> dict[str, float]:
    """The newest value of each metric."""
    tail = read_metrics(run.metrics_path)
    return {name: value for name in tail.names if (value := tail.last(name)) is not None}


def points(tail: MetricsTail, name: str) -> list[tuple[int, float]]:
    """A metric as (step, value)."""
    steps, values = tail.series(name)
    return [(int(step), float(value)) for step, value in zip(steps, values, strict=True)]


def best(values: Iterable[float]) -> float | None:
    """The least of the finite values."""
    return min((value for value in values if math.isfinite(value)), default=None)


def require_metric(name: str, known: Iterable[str]) -> None:
    """Raise `UsageError` when no run has such a metric."""
    from workbench.cli.parser import suggestion

    names = sorted(set(known))
    if name not in names:
        listed = f"known here: {', '.join(names)}" if names else "these runs have logged nothing yet"
        raise UsageError(f"there is no metric “{name}”", hint=suggestion(name, names) or listed)


def records(path: Path, *, overtaken: bool = False) -> list[dict[str, Any]]:
    """What was logged, in order, without what a resumed run went over again or a rollback undid; or with it,
    each with a key `overtaken`, 0 or 1."""
    kept: list[dict[str, Any]] = []
    torn = b""
    try:
        with path.open("rb") as file:
            while piece := file.read(READ_BYTES):
                whole, newline, rest = piece.rpartition(b"\n")
                if not newline:
                    torn += piece
                    continue
                for record in parse(torn + whole + newline)[0]:
                    _take(kept, record, overtaken)
                torn = rest
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(error, path) from None
    return kept


def _take(kept: list[dict[str, Any]], record: dict[str, Any], overtaken: bool) -> None:
    if "event" not in record:
        kept.append(record | {"overtaken": 0} if overtaken else record)
        return
    step = record.get("step")
    if record["event"] in ("resume", "rollback") and isinstance(step, (int, float)):
        if overtaken:
            for earlier in kept:
                if earlier.get("step", 0) > step:
                    earlier["overtaken"] = 1
            return
        while kept and kept[-1].get("step", 0) > step:
            kept.pop()
