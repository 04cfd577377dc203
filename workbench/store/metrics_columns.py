"""Metrics as numpy columns that grow, keep to the records still in force and hand out views."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.store.growing import FloatArray, Growing

Record = dict[str, object]
XAxis = Literal["step", "time", "num_tokens"]
OVERTAKING = ("resume", "rollback")
"""Events behind which records of later steps are no longer in force."""
AXES: tuple[XAxis, ...] = ("step", "time", "num_tokens")


class Column:
    """The values of one metric and the rows (record numbers) they belong to.

    `rows` is None while the metric stood in every record from the first on, as most do in most runs.
    """

    __slots__ = ("rows", "values")

    def __init__(self, values: Growing | None = None, rows: Growing | None = None) -> None:
        self.values = values or Growing()
        self.rows = rows

    def append(self, values: FloatArray, first_row: int, offsets: FloatArray | None) -> None:
        """Add values of rows `first_row + offsets`, or of consecutive rows when offsets is None."""
        if self.rows is None and (offsets is not None or self.values.length != first_row):
            self.rows = Growing(np.arange(self.values.length, dtype=np.float64))
        if self.rows is not None:
            # Row numbers are floats too: exact up to 2^53, and one kind of buffer is enough.
            within = np.arange(len(values), dtype=np.float64) if offsets is None else offsets
            self.rows.append(first_row + within)
        self.values.append(values)

    def row_numbers(self, start: int = 0) -> slice | NDArray[np.intp]:
        """What indexes an array of all records to get those of the values from `start` on."""
        if self.rows is None:
            return slice(start, self.values.length)
        return self.rows.view[start:].astype(np.intp)


class Columns:
    """All records in force, by column. `step`, `time` and `num_tokens` also serve as x axes."""

    def __init__(self) -> None:
        self.length = 0
        self.axes: dict[str, Growing] = {name: Growing() for name in AXES}
        self.columns: dict[str, Column] = {}
        self._x: dict[tuple[str, str], Growing] = {}

    @property
    def names(self) -> list[str]:
        return list(self.columns)

    def count(self, name: str) -> int:
        column = self.columns.get(name)
        return column.values.length if column else 0

    def last(self, name: str) -> float | None:
        column = self.columns.get(name)
        return float(column.values.view[-1]) if column and column.values.length else None

    def series(self, name: str, axis: XAxis) -> tuple[FloatArray, FloatArray]:
        """Views of a metric's x and y; x is gathered once and extended by what is new."""
        column = self.columns.get(name)
        if column is None:
            return np.empty(0), np.empty(0)
        values = column.values.view
        if column.rows is None and axis != "time":
            return self.axes[axis].view[: len(values)], values
        x = self._x.setdefault((name, axis), Growing())
        if x.length < len(values):
            new = self.axes[axis].view[column.row_numbers(x.length)]
            x.append(new - self._first_time() if axis == "time" else new)
        return x.view, values

    def first_time(self) -> float | None:
        """The time of the first record that has one; None without any."""
        return self._first_time() if np.isfinite(self.axes["time"].view).any() else None

    def _first_time(self) -> float:
        times = self.axes["time"].view
        return float(times[0] if np.isfinite(times[0]) else times[np.argmax(np.isfinite(times))])

    def extend(self, records: list[Record]) -> bool:
        """Add records in order; returns whether a resume event among them dropped earlier ones."""
        if not records or self._extend_alike(records):
            return False
        dropped, start = False, 0
        for index, record in enumerate(records):
            if "event" in record:
                self._extend_mixed(records[start:index])
                start = index + 1
                step = record.get("step")
                if record["event"] in OVERTAKING and isinstance(step, int | float):
                    dropped |= self.drop_after(step)
        self._extend_mixed(records[start:])
        return dropped

    def _extend_alike(self, records: list[Record]) -> bool:
        """The fast path: records that all have the same keys and nothing but numbers."""
        keys = list(records[0])
        if "event" in keys or set(map(len, records)) != {len(keys)}:
            return False
        try:
            arrays = {
                key: np.fromiter(map(itemgetter(key), records), np.float64, len(records)) for key in keys
            }
        except (KeyError, TypeError, ValueError):
            return False
        for key, values in arrays.items():
            self._append(key, values, None)
        self._end_rows(len(records), arrays)
        return True

    def _extend_mixed(self, records: list[Record]) -> None:
        found: dict[str, tuple[list[int], list[float]]] = {}
        for offset, record in enumerate(records):
            for key, value in record.items():
                if value is None or isinstance(value, int | float):
                    offsets, numbers = found.setdefault(key, ([], []))
                    offsets.append(offset)
                    numbers.append(float("nan") if value is None else float(value))
        axes: dict[str, FloatArray] = {}
        for key, (offsets, numbers) in found.items():
            values = np.array(numbers)
            where = None if len(offsets) == len(records) else np.array(offsets, np.float64)
            self._append(key, values, where)
            if key in self.axes:
                axes[key] = np.full(len(records), np.nan)
                axes[key][offsets] = values
        self._end_rows(len(records), axes)

    def _append(self, key: str, values: FloatArray, offsets: FloatArray | None) -> None:
        if key in ("step", "time"):
            return
        self.columns.setdefault(key, Column()).append(values, self.length, offsets)

    def _end_rows(self, count: int, axes: dict[str, FloatArray]) -> None:
        for name, axis in self.axes.items():
            values = axes.get(name)
            axis.append(np.full(count, np.nan) if values is None else values)
        self.length += count

    def drop_after(self, step: float) -> bool:
        """Forget every record with a greater step; returns whether there was one."""
        keep = ~(self.axes["step"].view > step)
        if keep.all():
            return False
        new_row = np.cumsum(keep, dtype=np.float64) - 1
        self.axes = {name: Growing(axis.view[keep]) for name, axis in self.axes.items()}
        self.length = self.axes["step"].length
        kept: dict[str, Column] = {}
        for name, column in self.columns.items():
            rows = column.row_numbers()
            mask = keep[rows]
            values = Growing(column.values.view[mask])
            if values.length:
                kept[name] = Column(values, None if column.rows is None else Growing(new_row[rows][mask]))
        self.columns = kept
        self._x.clear()
        return True


def arrays_of(columns: Columns) -> Iterable[tuple[str, str, Growing]]:
    """Every array of `columns` as (kind, name, array), in an order that can be kept on disk."""
    for name, axis in columns.axes.items():
        yield "axis", name, axis
    for name, column in columns.columns.items():
        yield "values", name, column.values
        if column.rows is not None:
            yield "rows", name, column.rows
