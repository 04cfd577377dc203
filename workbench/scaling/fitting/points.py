"""What is fitted: measured losses of runs, as arrays."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError, storage_error
from workbench.scaling.laws import FLOPS_PER_PARAMETER, Floats

LEAST_RUNS = 6
"""Five coefficients, and one run to see whether they fit."""
LEAST_SIZES = 3
"""Different N, and different D: two lie on any power law."""
SAME = 1.02
"""Sizes within so much of each other are one size."""


@dataclass(frozen=True)
class Point:
    """One finished run: `parameters` as counted for the fit, `tokens` seen, held-out `loss` in nats a token.

    `flops` of the whole training; `level` the compute budget that it was planned for, if it was, which
    groups runs into IsoFLOP curves; `unique` the different tokens among those seen.
    """

    name: str
    parameters: float
    tokens: float
    loss: float
    flops: float
    level: float | None = None
    unique: float | None = None

    @property
    def epochs(self) -> float:
        """How often the data was seen."""
        return self.tokens / self.unique if self.unique else 1.0


@dataclass(frozen=True)
class Points:
    """Runs in arrays of one value each."""

    runs: tuple[Point, ...]
    parameters: Floats
    tokens: Floats
    loss: Floats
    flops: Floats

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def flops_per_parameter(self) -> float:
        """κ of C = κ·N·D: the geometric mean over the runs; 6 where attention costs nothing."""
        return float(np.exp(np.log(self.flops / (self.parameters * self.tokens)).mean()))

    def take(self, indices: Sequence[int] | NDArray[np.intp]) -> Points:
        """Some of them, perhaps several times."""
        return points_of([self.runs[int(index)] for index in indices])


def points_of(runs: Sequence[Point]) -> Points:
    """Arrays of runs, in their order."""
    return Points(
        tuple(runs),
        np.array([run.parameters for run in runs], np.float64),
        np.array([run.tokens for run in runs], np.float64),
        np.array([run.loss for run in runs], np.float64),
        np.array([run.flops for run in runs], np.float64),
    )


def distinct(values: Floats) -> int:
    """How many different sizes there are."""
    places = np.sort(np.log(np.asarray(values, np.float64)))
    return int(1 + (np.diff(places) > math.log(SAME)).sum()) if len(places) else 0


def require_enough(points: Points, where: str) -> None:
    """Raise `DataError` where no law can be fitted, saying what is missing."""
    sizes, amounts = distinct(points.parameters), distinct(points.tokens)
    missing = []
    if len(points) < LEAST_RUNS:
        missing.append(f"{LEAST_RUNS} finished runs (there are {len(points)})")
    if sizes < LEAST_SIZES:
        missing.append(f"{LEAST_SIZES} different sizes (there are {sizes})")
    if amounts < LEAST_SIZES:
        missing.append(f"{LEAST_SIZES} different numbers of tokens (there are {amounts})")
    if missing:
        raise DataError(
            f"too few runs to fit a law: it takes {', and '.join(missing)}",
            where=where,
            hint="let more runs of the study finish: workbench scale run STUDY",
        )


NAMES = {
    "parameters": ("parameters", "N", "n", "params"),
    "tokens": ("tokens", "D", "d"),
    "loss": ("loss", "L", "l", "eval_loss"),
    "flops": ("flops", "C", "c", "compute"),
    "unique": ("unique", "unique_tokens"),
    "name": ("name", "run"),
}


def read_points(path: Path) -> list[Point]:
    """Points of somebody's own runs: a CSV or TSV with columns N, D and loss, and flops if there are.

    Without `flops` they are 6·N·D. Raises `DataError` naming the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError("it is not UTF-8 text", where=str(path)) from None
    except OSError as error:
        raise storage_error(error, path) from None
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = {key: _column(reader.fieldnames or (), names) for key, names in NAMES.items()}
    lacking = [key for key in ("parameters", "tokens", "loss") if columns[key] is None]
    if lacking:
        raise DataError(
            f"no column for {', '.join(lacking)}",
            where=str(path),
            hint="the first line names the columns: N,D,loss and, if known, flops",
        )
    found = []
    for row in _rows(reader, path):
        number = reader.line_num
        values = {
            key: _number(row.get(column), f"{path}:{number}", column)
            for key, column in columns.items()
            if column is not None and key != "name" and row.get(column) not in (None, "")
        }
        missing = [key for key in ("parameters", "tokens", "loss") if key not in values]
        if missing:
            raise DataError(f"no value for {', '.join(missing)}", where=f"{path}:{number}")
        flops = values.get("flops") or FLOPS_PER_PARAMETER * values["parameters"] * values["tokens"]
        name = str(row.get(columns["name"]) or "") if columns["name"] else ""
        found.append(
            Point(
                name or f"line {number}",
                values["parameters"],
                values["tokens"],
                values["loss"],
                flops,
                unique=values.get("unique"),
            )
        )
    return found


def _rows(reader: csv.DictReader[str], path: Path) -> Iterator[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(f"it is no table: {error}", where=f"{path}:{reader.line_num}") from None


def _column(names: Sequence[str], known: Sequence[str]) -> str | None:
    by_name = {name.strip(): name for name in names}
    return next((by_name[name] for name in known if name in by_name), None)


def _number(text: str | None, where: str, column: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise DataError(f"“{text}” in column {column} is no number above 0", where=where)
    return value
