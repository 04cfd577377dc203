"""Composing a chart: header, axes and curves, as one frame of cells. No Textual widget is needed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from workbench.store.growing import FloatArray
from workbench.tui.widgets.chart import axis_marks, header, strokes
from workbench.tui.widgets.chart.axes import Span, Viewport
from workbench.tui.widgets.chart.axis_marks import Plot
from workbench.tui.widgets.chart.canvas import CELL_DOTS, Grid, Pen
from workbench.tui.widgets.chart.frame import Frame
from workbench.tui.widgets.chart.memory import Memory
from workbench.tui.widgets.chart.options import Options
from workbench.tui.widgets.chart.palette import AXIS, MUTED, WARNING, bright, patterns
from workbench.tui.widgets.chart.pyramid import Summary
from workbench.tui.widgets.chart.series import Line, Marks, Series
from workbench.tui.widgets.chart.strokes import Stroke

EMPTY = "no points yet"
NONE_POSITIVE = "no positive values to show on a log axis"
NONE_HERE = "no points here"


@dataclass(frozen=True)
class Curve:
    """One series as it lies in the view: what is drawn bright, and the points as they are."""

    owner: int
    main: Line | None
    raw: Line | None


def draw(
    series: Mapping[str, Series],
    options: Options,
    viewport: Viewport,
    width: int,
    height: int,
    memory: Memory | None = None,
) -> Frame:
    """The chart in `width`×`height` cells. Moves the limits of `viewport` where the points ask for it.

    `memory`, of one chart, makes drawing it again cheaper.
    """
    memory = memory or Memory()
    if width <= 0 or height <= 0:
        return Frame(width, height)
    listed = list(series.values())
    data = data_span(listed, log=options.log_x)
    view = viewport.update(data, log=options.log_x)
    top = header.rows(height)
    bottom = axis_marks.rows(height)
    plot_rows = max(1, height - top - bottom)
    gutter, curves, limits = viewport.gutter, [], viewport.y.span or (0.0, 1.0)
    # The width of the labels decides that of the plot, and what is in its columns decides the labels.
    for _ in range(2):
        plot = Plot(top, gutter, max(1, width - gutter), plot_rows, view, limits)
        curves = lines_of(listed, options, plot)
        values = value_span(curves, options, listed)
        if values is not None:
            limits = viewport.y.fit(*values, log=options.log_y)
        plot = Plot(top, gutter, max(1, width - gutter), plot_rows, view, limits)
        needed = axis_marks.gutter(plot, options, width) if values is not None else min(2, width - 1)
        if needed == gutter:
            break
        gutter = viewport.gutter = needed
    plot = Plot(top, gutter, max(1, width - gutter), plot_rows, view, limits)
    has_values = any(curve.main for curve in curves)

    def axes() -> Frame:
        frame = Frame(width, height, "~" if options.symbols == "ascii" else "…")
        if bottom:
            axis_marks.x_axis(frame, plot, options, listed, labelled=data is not None)
        if gutter:
            axis_marks.y_axis(frame, plot, options, labelled=has_values)
        return frame

    gaps = tuple(one.gaps for one in listed)
    frame = memory.axes((plot, options, width, height, data is not None, has_values, gaps), axes)
    if has_values:
        paint(frame, plot, options, listed, curves, memory)
    else:
        message = EMPTY if not any(one.x.length for one in listed) else NONE_HERE
        if message != EMPTY and (options.log_y or options.log_x) and viewport.zoomed is None:
            message = NONE_POSITIVE
        middle = plot.left + max(0, (plot.columns - len(message)) // 2)
        frame.text(plot.top + (plot.rows - 1) // 2, middle, message, MUTED)
    event_marks(frame, plot, options, has_axis=bool(bottom))
    crosshair(frame, plot, options)
    told = marks_at_crosshair(plot, options)
    zoomed = viewport.zoomed is not None
    header.write(frame, options, listed, skipped(listed, options), zoomed=zoomed, marks=told)
    return frame


def data_span(listed: list[Series], *, log: bool) -> Span | None:
    """The range of x over all series, in axis coordinates; None without a point to place."""
    ends = []
    for series in listed:
        x = series.x.view
        first = int(np.searchsorted(x, 0.0, side="right")) if log else 0
        if first < len(x):
            ends.append((float(x[first]), float(x[-1])))
    if not ends:
        return None
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    return (float(np.log10(low)), float(np.log10(high))) if log else (low, high)


def lines_of(listed: list[Series], options: Options, plot: Plot) -> list[Curve]:
    """Every series summarised in the dot columns of the plot."""
    count = plot.columns * CELL_DOTS[options.symbols][0]
    edges = column_edges(plot.x, count, log=options.log_x)
    curves = []
    for owner, series in enumerate(listed):
        raw = series.track(options.log_y, 0.0).line(edges, options.log_x)
        main = raw
        if options.smoothing:
            main = series.track(options.log_y, options.smoothing).line(edges, options.log_x)
        curves.append(Curve(owner, main, raw))
    return curves


@lru_cache(maxsize=16)
def column_edges(view: Span, count: int, *, log: bool) -> FloatArray:
    """The x between which each of `count` columns lies."""
    low, high = view
    # A hair wider, so that rounding does not push the first or the last point out of the view.
    hair = 1e-9 * (high - low)
    edges = np.linspace(low - hair, high + hair, count + 1)
    return 10.0**edges if log else edges


def value_span(curves: list[Curve], options: Options, listed: list[Series]) -> Span | None:
    """The range of all that will be drawn, on the scale of the y axis."""
    lows: list[float] = []
    highs: list[float] = []
    for curve in curves:
        for line in (curve.main, curve.raw) if options.smoothing else (curve.main,):
            if line is None:
                continue
            if len(line.columns):
                summary = line.summary
                whole = options.envelope or listed[curve.owner].style.marks != "line"
                lows.append(float((summary.low if whole else summary.mean).min()))
                highs.append(float((summary.high if whole else summary.mean).max()))
            else:
                ends = [end[1] for end in (line.before, line.after) if end]
                lows.append(min(ends))
                highs.append(max(ends))
    return (min(lows), max(highs)) if lows else None


def paint(
    frame: Frame, plot: Plot, options: Options, listed: list[Series], curves: list[Curve], memory: Memory
) -> None:
    """The curves: dashed ones beneath, the faint layer behind all."""
    grid = Grid(plot.columns, plot.rows, options.symbols)
    chosen = patterns([series.style for series in listed], options.depth)
    drawn: list[Stroke] = []
    for curve in sorted(curves, key=lambda curve: not listed[curve.owner].style.dashed):
        bold, faint = Pen(curve.owner, bright=True), Pen(curve.owner, bright=False)
        if listed[curve.owner].style.marks != "line":
            if curve.raw and len(curve.raw.columns):
                drawn += _marked(curve.raw, bold, listed[curve.owner].style.marks)
            continue
        if curve.raw:
            if options.envelope and not listed[curve.owner].style.dashed:
                drawn.append(Stroke(curve.raw, faint, envelope=True))
            if options.smoothing:
                drawn.append(Stroke(curve.raw, faint))
        if curve.main:
            drawn.append(Stroke(curve.main, bold, chosen[curve.owner]))
    area = (slice(plot.top, plot.top + plot.rows), slice(plot.left, plot.left + plot.columns))
    frame.codes[area], frame.styles[area] = memory.cells(grid, strokes.runs(grid, plot.y, drawn))
    if options.depth == "none" and len(curves) > 1:
        end_letters(frame, plot, grid, curves)


def _marked(line: Line, pen: Pen, marks: Marks) -> list[Stroke]:
    """Points that no line joins: a cross for the least and for the greatest of each column, or a bar between
    the two."""
    if marks == "bars":
        return [Stroke(line, pen, envelope=True)]
    summary = line.summary
    places = {
        (int(column), float(value))
        for ends in (summary.low, summary.high)
        for column, value in zip(line.columns, ends, strict=True)
    }
    return [
        Stroke(Line(np.array([column]), Summary(*(np.array([value]) for _ in range(3))), None, None), pen)
        for column, value in sorted(places)
    ]


def end_letters(frame: Frame, plot: Plot, grid: Grid, curves: list[Curve]) -> None:
    """Without colours, each curve ends in the letter it has in the legend."""
    across, down = CELL_DOTS[grid.symbols]
    for curve in curves:
        if curve.main and len(curve.main.columns):
            row = round(float(strokes.dot_rows(grid, plot.y, curve.main.summary.mean[-1:])[0]))
            column = int(curve.main.columns[-1]) // across
            frame.text(
                plot.top + min(max(row // down, 0), plot.rows - 1),
                plot.left + column,
                header.letter(curve.owner),
                bright(curve.owner),
            )


def event_marks(frame: Frame, plot: Plot, options: Options, *, has_axis: bool) -> None:
    """A glyph on the x axis for everything that happened in view; up from a grave one, a line where no curve
    is."""
    is_ascii = options.symbols == "ascii"
    # Grave ones last: in a column that holds both, they are seen.
    for mark in sorted(options.marks, key=lambda mark: mark.grave):
        column = plot.column_of(mark.x, log=options.log_x)
        if column is None:
            continue
        cells = (slice(plot.top, plot.top + plot.rows), plot.left + column)
        if mark.grave:
            empty = frame.codes[cells] == ord(" ")
            frame.codes[cells] = np.where(empty, ord("'" if is_ascii else "┊"), frame.codes[cells])
            frame.styles[cells] = np.where(empty, WARNING, frame.styles[cells])
        if has_axis:
            glyph = ("!" if mark.grave else "^") if is_ascii else ("▲" if mark.grave else "△")
            frame.fill(plot.top + plot.rows, plot.left + column, glyph, WARNING)


def crosshair(frame: Frame, plot: Plot, options: Options) -> None:
    """A line down the plot where no curve is."""
    column = None if options.crosshair is None else plot.column_of(options.crosshair, log=options.log_x)
    if column is None:
        return
    cells = (slice(plot.top, plot.top + plot.rows), plot.left + column)
    empty = frame.codes[cells] == ord(" ")
    frame.codes[cells] = np.where(empty, ord("|" if options.symbols == "ascii" else "│"), frame.codes[cells])
    frame.styles[cells] = np.where(empty, AXIS, frame.styles[cells])


def marks_at_crosshair(plot: Plot, options: Options) -> str:
    """The labels of the marks that the crosshair stands on."""
    if options.crosshair is None:
        return ""
    column = plot.column_of(options.crosshair, log=options.log_x)
    here = [mark for mark in options.marks if plot.column_of(mark.x, log=options.log_x) == column]
    return ", ".join(dict.fromkeys(mark.label for mark in here)) if column is not None else ""


def skipped(listed: list[Series], options: Options) -> int:
    """Points that a logarithmic axis cannot show."""
    count = 0
    for series in listed:
        if options.log_y:
            count += series.track(True, 0.0).skipped
        if options.log_x:
            count += int(np.searchsorted(series.x.view, 0.0, side="right"))
    return count
