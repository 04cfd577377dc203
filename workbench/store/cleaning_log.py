"""Browsing what a step dropped and changed: any of its records by number, without reading those before it."""

from __future__ import annotations

import json
from dataclasses import dataclass
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


class StepLogReader:
    """The log of one step over all shards that are done, in the order of the corpus.

    `reason` and `action` choose; choosing reads those two columns of everything, and nothing else.
    """

    def __init__(self, cleaning: Cleaning, step: str, *, reason: str = "", action: str = "") -> None:
        """Raises `RunError` where the recipe takes no such step."""
        import pyarrow.parquet as pq

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
        self._chosen: list[int] | None = [] if reason or action else None
        for path in sorted(folder.glob("[0-9]*.parquet")):
            with pq.ParquetFile(path) as file:
                for number in range(file.num_row_groups):
                    rows = file.metadata.row_group(number).num_rows
                    if self._chosen is not None:
                        table = file.read_row_group(number, columns=["reason", "action"]).to_pylist()
                        self._chosen += [
                            self.count + place
                            for place, row in enumerate(table)
                            if reason in ("", row["reason"]) and action in ("", row["action"])
                        ]
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
