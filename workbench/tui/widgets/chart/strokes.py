"""From summaries a dot column to the dots: the run of rows that each column fills."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.store.growing import FloatArray
from workbench.tui.widgets.chart.axes import Span
from workbench.tui.widgets.chart.canvas import Grid, Pen, Runs
from workbench.tui.widgets.chart.palette import PATTERNS
from workbench.tui.widgets.chart.series import Line


class Stroke(NamedTuple):
    """One line to be drawn: as a curve, dashed unless `pattern` is 0, or as its `envelope`."""

    line: Line
    pen: Pen
    pattern: int = 0
    envelope: bool = False

    @property
    def lonely(self) -> bool:
        """Whether it is a curve of a single point, whose one dot nobody would find."""
        alone = len(self.line.columns) == 1 and not (self.line.before or self.line.after)
        return alone and self.pen.bright and not self.envelope


def dot_rows(grid: Grid, limits: Span, values: FloatArray) -> FloatArray:
    """Dot rows of values, not rounded, counted from the top; those outside land just outside."""
    low, high = limits
    rows = (high - values) * ((grid.dot_rows - 1) / (high - low))
    clipped: FloatArray = np.minimum(np.maximum(rows, -1.0), grid.dot_rows)
    return clipped


def runs(grid: Grid, limits: Span, strokes: list[Stroke]) -> Runs:
    """The dots of all strokes, drawn together: a step of numpy costs the same for one as for eight.

    An envelope goes from the greatest to the least value of each column that has points. A curve goes
    through the means of the columns, with straight lines over columns without points; each column is
    filled half-way to its neighbours' rows, so steep parts stay connected and thin.
    """
    # The upper ends of all strokes, then the lower ends; not a number where nothing is drawn.
    values = np.full((2 * len(strokes), grid.dot_columns), np.nan)
    curves = []
    for index, stroke in enumerate(strokes):
        if stroke.envelope:
            values[index, stroke.line.columns] = stroke.line.summary.high
            values[len(strokes) + index, stroke.line.columns] = stroke.line.summary.low
        else:
            curves.append(index)
            _follow(values[index], stroke.line)
    rows = dot_rows(grid, limits, values)
    tops, bottoms = rows[: len(strokes)], rows[len(strokes) :]
    if curves:
        middle = tops[curves]
        half = (middle[:, 1:] + middle[:, :-1]) / 2
        top, bottom = middle.copy(), middle
        np.fmin(top[:, :-1], half, out=top[:, :-1])
        np.fmin(top[:, 1:], half, out=top[:, 1:])
        np.fmax(bottom[:, :-1], half, out=bottom[:, :-1])
        np.fmax(bottom[:, 1:], half, out=bottom[:, 1:])
        tops[curves], bottoms[curves] = top, bottom
    np.rint(rows, out=rows)
    empty = np.isnan(rows)
    rows[: len(strokes)][empty[: len(strokes)]] = 1
    rows[len(strokes) :][empty[len(strokes) :]] = 0
    whole = rows.astype(np.int16)
    found = Runs(whole[: len(strokes)], whole[len(strokes) :], tuple(stroke.pen for stroke in strokes))
    for index, stroke in enumerate(strokes):
        if stroke.lonely:
            _cross(grid, found, index, int(stroke.line.columns[0]))
        elif stroke.pattern:
            left_out = ~_drawn(stroke.pattern, grid.dot_columns)
            found.tops[index, left_out], found.bottoms[index, left_out] = 1, 0
    return found


def _follow(values: FloatArray, line: Line) -> None:
    """The means of a line in the columns it crosses, with straight lines over those without points."""
    columns, means = line.columns, line.summary.mean
    if line.before is None and line.after is None and int(columns[-1]) - int(columns[0]) < len(columns):
        values[int(columns[0]) : int(columns[-1]) + 1] = means
        return
    places = columns.astype(np.float64)
    if line.before:
        places, means = np.append(line.before[0], places), np.append(line.before[1], means)
    if line.after:
        places, means = np.append(places, line.after[0]), np.append(means, line.after[1])
    first = max(0, int(np.ceil(places[0])))
    last = min(len(values) - 1, int(np.floor(places[-1])))
    if first <= last:
        values[first : last + 1] = np.interp(np.arange(first, last + 1), places, means)


def _cross(grid: Grid, found: Runs, index: int, column: int) -> None:
    """A small plus around the only dot of a stroke."""
    top, bottom = found.tops[index], found.bottoms[index]
    row = int(top[column])
    reach = 0 if grid.symbols == "ascii" else 1
    around = slice(max(0, column - reach), column + reach + 1)
    top[around] = bottom[around] = row
    top[column], bottom[column] = row - reach, row + reach


def _drawn(pattern: int, columns: int) -> NDArray[np.bool_]:
    """The columns in which a line of this pattern is drawn; fixed to the screen, so it is calm."""
    cycle = [np.full(length, index % 2 == 0) for index, length in enumerate(PATTERNS[pattern])]
    return np.resize(np.concatenate(cycle), columns)
