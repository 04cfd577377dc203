"""Whole pictures: drawn again with what the last one left they are the same as drawn afresh."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workbench.tui.widgets.chart import SeriesStyle
from workbench.tui.widgets.chart.axes import Viewport
from workbench.tui.widgets.chart.frame import Frame
from workbench.tui.widgets.chart.memory import Memory
from workbench.tui.widgets.chart.options import Options
from workbench.tui.widgets.chart.picture import draw
from workbench.tui.widgets.chart.series import Series


def text_of(frame: Frame) -> list[str]:
    return ["".join(map(chr, row)) for row in frame.codes.tolist()]


@pytest.mark.parametrize(
    "options",
    [
        Options(title="loss", x_label="step"),
        Options(smoothing=0.9, log_y=True, depth="few"),
        Options(symbols="block", log_x=True, depth="none"),
        Options(symbols="ascii"),
    ],
)
def test_memory_changes_nothing_but_the_time(options: Options) -> None:
    generator = np.random.default_rng(3)
    count = 400
    series = {
        str(number): Series(
            SeriesStyle(f"run {number}", number, dashed=number == 2),
            np.arange(1.0, count + 1),
            5 + number + generator.normal(0, 0.3, count),
        )
        for number in range(3)
    }
    memory, viewport = Memory(), Viewport()
    viewport.live = True
    for tick in range(60):
        changed = replace(options, crosshair=50.0 + tick if 20 <= tick < 25 else None)
        size = (60, 20) if 40 <= tick < 45 else (90, 24)
        if tick == 30:
            viewport.zoom(4.0, None)
        if tick == 35:
            viewport.reset()
        if tick == 50:
            del series["1"]
        remembered = draw(series, changed, viewport, *size, memory)
        afresh = draw(series, changed, viewport, *size)
        assert text_of(remembered) == text_of(afresh)
        np.testing.assert_array_equal(remembered.styles, afresh.styles)
        for one in series.values():
            # Now and then a value that is marked on the axis, and one that rescales it.
            value = np.nan if tick % 17 == 16 else 30.0 if tick == 28 else 5 + generator.normal()
            one.append(np.array([count + 1.0 + 2 * tick]), np.array([value]))


def test_gaps_in_other_places_are_marked_there() -> None:
    x = np.arange(100.0)
    memory, viewport = Memory(), Viewport()
    marks = []
    for gap in (20, 70):
        y = np.where(x == gap, np.nan, 1 + x)
        series = {"a": Series(SeriesStyle("a"), x, y)}
        marks.append(text_of(draw(series, Options(), viewport, 60, 12, memory))[-2].index("×"))
    assert marks[0] < marks[1]


def test_between_two_points_there_is_a_straight_line() -> None:
    series = {"a": Series(SeriesStyle("a"), np.array([0.0, 100.0, 200.0]), np.array([0.0, 10.0, 0.0]))}
    viewport = Viewport()
    draw(series, Options(symbols="ascii"), viewport, 60, 22)
    viewport.zoom(10.0, 50.0)
    frame = draw(series, Options(symbols="ascii"), viewport, 60, 22)
    rows, columns = np.nonzero(frame.codes[2:-2, viewport.gutter :] == ord("*"))
    # From 3.75 or so to 5.25 or so on an axis from 0 to 10: every column, upwards.
    highest = [int(rows[columns == column].min()) for column in range(60 - viewport.gutter)]
    assert highest == sorted(highest, reverse=True) and highest[0] - highest[-1] >= 2


def test_points_are_crosses_and_those_of_one_x_a_bar() -> None:
    points = Series(SeriesStyle("runs", marks="points"), np.array([1.0, 5.0]), np.array([1.0, 3.0]))
    bar = Series(SeriesStyle("interval", marks="bars"), np.array([9.0, 9.0]), np.array([1.0, 3.0]))
    unnamed = Series(SeriesStyle(""), np.array([1.0, 9.0]), np.array([2.0, 2.0]))
    frame = draw({"a": points, "b": bar, "c": unnamed}, Options(symbols="ascii"), Viewport(), 60, 20)
    _, legend, *rows = text_of(frame)
    # What has no name is left out of the legend: two marks, two labels, two values.
    assert "runs" in legend and "interval" in legend and len(legend.split()) == 6
    plot = rows[:-2]
    columns = ["".join(row[column] for row in plot) for column in range(60)]
    # No line joins the points, and the bar is as high as they are apart.
    assert sum(column.count("*") for column in columns) == 2
    assert max(column.count("+") for column in columns[-3:]) >= 8
