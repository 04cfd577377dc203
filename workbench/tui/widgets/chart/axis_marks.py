"""The axes around a plot: lines, ticks, labels, and marks where a series was not finite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from workbench.tui.widgets.chart.axes import Span
from workbench.tui.widgets.chart.canvas import CELL_DOTS
from workbench.tui.widgets.chart.frame import Frame, cells_of
from workbench.tui.widgets.chart.options import Options
from workbench.tui.widgets.chart.palette import AXIS, MUTED, bright
from workbench.tui.widgets.chart.series import Series
from workbench.tui.widgets.chart.ticks import format_log_tick, format_tick, linear_ticks, log_ticks

# Below this width labels would leave no room for the curve.
NARROWEST_WITH_LABELS = 16


@dataclass(frozen=True)
class Plot:
    """The cells the curves are drawn in, and the part of the plane they show, in axis coordinates."""

    top: int
    left: int
    columns: int
    rows: int
    x: Span
    y: Span

    def column_of(self, x: float, *, log: bool) -> int | None:
        """The cell column, from the left of the plot, that holds an x; None outside."""
        if log:
            if x <= 0:
                return None
            x = math.log10(x)
        share = (x - self.x[0]) / (self.x[1] - self.x[0])
        return min(int(share * self.columns), self.columns - 1) if -1e-9 <= share <= 1 + 1e-9 else None

    def x_of(self, column: float, *, log: bool) -> float:
        """The x in the middle of a cell column."""
        place = self.x[0] + (column + 0.5) / self.columns * (self.x[1] - self.x[0])
        return float(10.0**place) if log else place


def rows(height: int) -> int:
    """Rows the x axis takes of a chart this high."""
    return 2 if height >= 4 else 0


@lru_cache(maxsize=64)
def y_marks(plot: Plot, options: Options) -> dict[int, str]:
    """Labels by row of the plot. When two would share a row the first stays."""
    low, high = plot.y
    target = max(2, round(plot.rows / 3.5))
    if options.log_y:
        labelled = [(math.log10(tick), format_log_tick(tick)) for tick in log_ticks(low, high, target)]
    else:
        ticks, step = linear_ticks(low, high, target)
        labelled = [(tick, format_tick(tick, step)) for tick in ticks]
    down = CELL_DOTS[options.symbols][1]
    marks: dict[int, str] = {}
    for place, label in labelled:
        share = (high - place) / (high - low)
        marks.setdefault(min(max(round(share * (plot.rows * down - 1)) // down, 0), plot.rows - 1), label)
    return marks


def gutter(plot: Plot, options: Options, width: int) -> int:
    """Columns left of the plot: the widest label and the axis line."""
    if width < NARROWEST_WITH_LABELS:
        return 1 if width > 2 else 0
    return min(max(4, *(len(label) for label in y_marks(plot, options).values())) + 1, width // 3)


def y_axis(frame: Frame, plot: Plot, options: Options, *, labelled: bool) -> None:
    """The axis line left of the plot, with ticks and labels."""
    plain, tick = ("|", "+") if options.symbols == "ascii" else ("│", "┤")
    marks = y_marks(plot, options) if labelled else {}
    frame.fill(slice(plot.top, plot.top + plot.rows), plot.left - 1, plain, AXIS)
    for row, label in marks.items():
        frame.fill(plot.top + row, plot.left - 1, tick, AXIS)
        if plot.left > 1:
            shown = label[-(plot.left - 1) :]
            frame.text(plot.top + row, plot.left - 1 - len(shown), shown, MUTED)


def x_axis(frame: Frame, plot: Plot, options: Options, listed: list[Series], *, labelled: bool) -> None:
    """The axis line below the plot, its labels, and a cross wherever a series has a gap."""
    row = plot.top + plot.rows
    line, tick, corner = ("-", "+", "+") if options.symbols == "ascii" else ("─", "┬", "└")
    if plot.left:
        frame.fill(row, plot.left - 1, corner, AXIS)
    frame.fill(row, slice(plot.left, None), line, AXIS)
    name = cells_of(options.x_label)
    end = frame.width
    if name and len(name) + 12 <= plot.columns:
        end = frame.width - len(name)
        frame.text(row + 1, end, options.x_label, MUTED)
        end -= 2
    free = 0
    for x, label in _x_labels(plot, options) if labelled else []:
        column = plot.column_of(x, log=options.log_x)
        if column is None:
            continue
        frame.fill(row, plot.left + column, tick, AXIS)
        start = min(max(plot.left + column - len(label) // 2, 0), frame.width - len(label))
        if start >= free and start + len(label) <= end:
            frame.text(row + 1, start, label, MUTED)
            free = start + len(label) + 1
    _gap_marks(frame, plot, options, listed, row)


@lru_cache(maxsize=64)
def _x_labels(plot: Plot, options: Options) -> list[tuple[float, str]]:
    target = max(1, plot.columns // 12)
    if options.log_x:
        return [(tick, format_log_tick(tick)) for tick in log_ticks(*plot.x, target)]
    ticks, step = linear_ticks(*plot.x, target, options.x_kind)
    return [(tick, format_tick(tick, step, options.x_kind)) for tick in ticks]


def _gap_marks(frame: Frame, plot: Plot, options: Options, listed: list[Series], row: int) -> None:
    edges = np.linspace(*plot.x, plot.columns + 1)
    for owner, series in enumerate(listed):
        if series.gaps.length:
            bounds = np.searchsorted(series.gaps.view, 10.0**edges if options.log_x else edges)
            bounds[-1] = np.searchsorted(
                series.gaps.view, 10.0 ** edges[-1] if options.log_x else edges[-1], "right"
            )
            columns = plot.left + np.flatnonzero(np.diff(bounds))
            frame.codes[row, columns] = ord("x" if options.symbols == "ascii" else "×")
            frame.styles[row, columns] = bright(owner)
