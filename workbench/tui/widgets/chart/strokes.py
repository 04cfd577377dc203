"""From summaries a dot column to the dots: the run of rows that each column fills."""

from __future__ import annotations

import numpy as np

from workbench.store.growing import FloatArray
from workbench.tui.widgets.chart.axes import Span
from workbench.tui.widgets.chart.canvas import Canvas, RowArray
from workbench.tui.widgets.chart.palette import PATTERNS
from workbench.tui.widgets.chart.series import Line

Runs = tuple[RowArray, RowArray]


def dot_rows(canvas: Canvas, limits: Span, values: FloatArray) -> FloatArray:
    """Dot rows of values, not rounded, counted from the top; those outside land just outside."""
    low, high = limits
    rows = (high - values) / (high - low) * (canvas.dot_rows - 1)
    return np.clip(rows, -1.0, canvas.dot_rows)


def polyline(canvas: Canvas, limits: Span, line: Line) -> Runs:
    """The curve through the means of the columns, with straight lines over columns without points.

    Each column is filled half-way to its neighbours' rows, so steep parts stay connected and thin.
    """
    places, values = line.columns.astype(np.float64), line.summary.mean
    if line.before:
        places, values = np.append(line.before[0], places), np.append(line.before[1], values)
    if line.after:
        places, values = np.append(places, line.after[0]), np.append(values, line.after[1])
    first = max(0, int(np.ceil(places[0])))
    last = min(canvas.dot_columns - 1, int(np.floor(places[-1])))
    if last < first:
        return _nothing(canvas)
    # Values are turned into rows first: a straight line on a logarithmic axis is straight on the screen.
    rows = np.interp(np.arange(first, last + 1), places, dot_rows(canvas, limits, values))
    middles = (rows[1:] + rows[:-1]) / 2
    top, bottom = rows.copy(), rows.copy()
    np.minimum(top[:-1], middles, out=top[:-1])
    np.minimum(top[1:], middles, out=top[1:])
    np.maximum(bottom[:-1], middles, out=bottom[:-1])
    np.maximum(bottom[1:], middles, out=bottom[1:])
    return _placed(canvas, slice(first, last + 1), top, bottom)


def envelope(canvas: Canvas, limits: Span, line: Line) -> Runs:
    """From the greatest to the least value of each column that has points."""
    top = dot_rows(canvas, limits, line.summary.high)
    return _placed(canvas, line.columns, top, dot_rows(canvas, limits, line.summary.low))


def cross(canvas: Canvas, limits: Span, line: Line) -> Runs:
    """A small plus for a curve of a single point, whose one dot nobody would find."""
    top, bottom = _nothing(canvas)
    column = int(line.columns[0])
    row = int(np.rint(dot_rows(canvas, limits, line.summary.mean)[0]))
    reach = 0 if canvas.symbols == "ascii" else 1
    top[max(0, column - reach) : column + reach + 1] = bottom[max(0, column - reach) : column + reach + 1] = (
        row
    )
    top[column], bottom[column] = row - reach, row + reach
    return top, bottom


def dashed(runs: Runs, pattern: int) -> Runs:
    """Only the columns in which a line of this pattern is drawn; fixed to the screen, so it is calm."""
    cycle = np.concatenate(
        [np.full(length, index % 2 == 0) for index, length in enumerate(PATTERNS[pattern])]
    )
    top, bottom = runs
    drawn = np.resize(cycle, len(top))
    return np.where(drawn, top, np.int16(1)), np.where(drawn, bottom, np.int16(0))


def _nothing(canvas: Canvas) -> Runs:
    return np.ones(canvas.dot_columns, np.int16), np.zeros(canvas.dot_columns, np.int16)


def _placed(canvas: Canvas, columns: slice | np.ndarray, top: FloatArray, bottom: FloatArray) -> Runs:
    tops, bottoms = _nothing(canvas)
    tops[columns], bottoms[columns] = np.rint(top), np.rint(bottom)
    return tops, bottoms
