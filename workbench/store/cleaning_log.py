"""Browsing what a step dropped and changed: any of its records by number, without reading those before it."""

from __future__ import annotations

import json
from array import array
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from workbench.errors import RunError
from workbench.store.cleaning import Cleaning

COLUMNS = ("row", "where", "source", "action", "reason", "detail")


@dataclass(frozen=True)
class _Group:
    path: Path
    number: int
    first: int
    rows: int


# A log is looked at again whenever a shard more is done; those that were done then stay as they are.


@lru_cache(maxsize=1 << 14)
def _rows_of_groups(path: Path, changed: int) -> tuple[int, ...]:
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path)
    return tuple(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))


@lru_cache(maxsize=1 << 12)
def _matching(path: Path, changed: int, reason: str, action: str) -> array[int]:
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=["reason", "action"], partitioning=None).to_pylist()
    return array(
        "I",
        (
            place
            for place, row in enumerate(table)
            if reason in ("", row["reason"]) and action in ("", row["action"])
        ),
    )


class StepLogReader:
    """The log of one step over all shards that are done, in the order of the corpus.

    `reason` and `action` choose; choosing reads those two columns of everything, and nothing else.
    """

    def __init__(self, cleaning: Cleaning, step: str, *, reason: str = "", action: str = "") -> None:
        """Raises `RunError` where the recipe takes no such step."""
        steps = list(cleaning.recipe().steps())
        names = [str(name) for name in steps]
        if step not in names:
            raise RunError(
                f"this cleaning has no step “{step}”",
                where=str(cleaning.path),
                hint=f"its steps: {', '.join(names)}",
            )
        folder = cleaning.steps_path / f"{names.index(step) + 1:02d}-{step}"
        self.step, self._groups, self.count = step, list[_Group](), 0
        self._cached: tuple[Path, int] | None = None
        self._rows: list[dict[str, Any]] = []
        self._chosen = array("Q") if reason or action else None
        for path in sorted(folder.glob("[0-9]*.parquet")):
            changed = path.stat().st_mtime_ns
            if self._chosen is not None:
                self._chosen.extend(self.count + row for row in _matching(path, changed, reason, action))
            for number, rows in enumerate(_rows_of_groups(path, changed)):
                self._groups.append(_Group(path, number, self.count, rows))
                self.count += rows

    def __len__(self) -> int:
        return self.count if self._chosen is None else len(self._chosen)

    def get(self, number: int) -> dict[str, Any]:
        """A record: where, action, reason, detail (a mapping), before, after, other. Raises `IndexError`."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        place = number if self._chosen is None else self._chosen[number]
        group = next(group for group in self._groups if group.first <= place < group.first + group.rows)
        row = dict(self._read(group)[place - group.first])
        row["detail"] = json.loads(row["detail"] or "{}")
        return {"number": number, **row}

    def page(self, start: int, count: int) -> list[dict[str, Any]]:
        """Some records from number `start` on."""
        return [self.get(number) for number in range(start, min(len(self), start + count))]

    def _read(self, group: _Group) -> list[dict[str, Any]]:
        import pyarrow.parquet as pq

        if self._cached != (group.path, group.number):
            with pq.ParquetFile(group.path) as file:
                self._rows = file.read_row_group(group.number).to_pylist()
            self._cached = (group.path, group.number)
        return self._rows
