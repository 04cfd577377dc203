"""The parts of a chart, each against something simpler: loops, brute force, dots counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rich.style import Style

from workbench.store.growing import FloatArray
from workbench.tui.widgets.chart import SeriesStyle
from workbench.tui.widgets.chart.axes import Limits, Viewport
from workbench.tui.widgets.chart.canvas import NOBODY, Canvas, Pen, Runs, Symbols
from workbench.tui.widgets.chart.frame import Frame, clean
from workbench.tui.widgets.chart.palette import patterns, style_table
from workbench.tui.widgets.chart.pyramid import FEW_POINTS, Pyramid
from workbench.tui.widgets.chart.series import Series
from workbench.tui.widgets.chart.smoothing import Smoother
from workbench.tui.widgets.chart.ticks import (
    format_duration,
    format_log_tick,
    format_tick,
    format_value,
    linear_ticks,
    log_ticks,
    nice_end,
)


def rows(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.array(values, np.int16)


def runs(
    top: np.ndarray[tuple[int], np.dtype[np.int16]],
    bottom: np.ndarray[tuple[int], np.dtype[np.int16]],
    owner: int,
    *,
    bright: bool,
) -> Runs:
    return Runs(top[None], bottom[None], (Pen(owner, bright),))


def text_of(canvas: Canvas) -> list[str]:
    return ["".join(map(chr, row)) for row in canvas.cells()[0].tolist()]


# Canvas


def test_each_braille_dot_is_where_unicode_has_it() -> None:
    dots = {(0, 0): 1, (1, 0): 2, (2, 0): 3, (3, 0): 7, (0, 1): 4, (1, 1): 5, (2, 1): 6, (3, 1): 8}
    for (row, column), number in dots.items():
        canvas = Canvas(1, 1)
        top, bottom = rows(9, 9), rows(8, 8)
        top[column] = bottom[column] = row
        canvas.draw(runs(top, bottom, 0, bright=True))
        assert ord(text_of(canvas)[0]) == 0x2800 + (1 << (number - 1))


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [("braille", ["⡀⢸", "⣇ "]), ("block", ["▖▐", "▙ "]), ("ascii", [" *", "* "])],
)
def test_runs_fill_from_top_to_bottom(symbols: Symbols, expected: list[str]) -> None:
    canvas = Canvas(2, 2, symbols)
    if symbols == "ascii":
        canvas.draw(runs(rows(1, 0), rows(1, 0), 0, bright=True))
    elif symbols == "block":
        canvas.draw(runs(rows(1, 3, 9, 0), rows(3, 3, 8, 1), 0, bright=True))
    else:
        canvas.draw(runs(rows(3, 7, 9, 0), rows(7, 7, 8, 3), 0, bright=True))
    assert text_of(canvas) == expected


def test_runs_beyond_the_edges_are_cut_off() -> None:
    canvas = Canvas(1, 1)
    canvas.draw(runs(rows(-5, 4), rows(99, 99), 0, bright=True))
    assert text_of(canvas) == ["⡇"]


def test_runs_against_dots_drawn_one_by_one() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        canvas = Canvas(7, 5)
        dots = np.zeros((20, 14), bool)
        for owner in range(2):
            top = generator.integers(-3, 23, 14).astype(np.int16)
            bottom = (top + generator.integers(-2, 9, 14)).astype(np.int16)
            canvas.draw(runs(top, bottom, owner, bright=True))
            for column in range(14):
                dots[max(top[column], 0) : max(bottom[column] + 1, 0), column] = True
        bits = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]]
        for row in range(5):
            for column in range(7):
                cell = dots[4 * row : 4 * row + 4, 2 * column : 2 * column + 2]
                code = 0x2800 + int((cell * np.array(bits)).sum())
                assert ord(text_of(canvas)[row][column]) == (code if code > 0x2800 else ord(" "))


def test_a_bright_curve_is_not_drowned_in_the_envelope() -> None:
    canvas = Canvas(2, 1)
    canvas.draw(runs(rows(0, 0, 0, 0), rows(3, 3, 3, 3), 1, bright=False))
    canvas.draw(runs(rows(1, 9, 9, 9), rows(1, 8, 8, 8), 0, bright=True))
    codes, owners, bright = canvas.cells()
    assert text_of(canvas) == ["⠂⣿"]
    assert owners.tolist() == [[0, 1]] and bright.tolist() == [[True, False]]
    assert Canvas(1, 1).cells()[1].tolist() == [[NOBODY]]


# Pyramid


def test_pyramid_against_brute_force_over_random_appends() -> None:
    generator = np.random.default_rng(1)
    values: FloatArray = np.empty(0)
    pyramid = Pyramid()
    for size in [1, 3, 15, 16, 17, 1000, 0, 40_000, 5, 7, 65_537, 1, 4096]:
        values = np.append(values, generator.normal(size=size).cumsum())
        pyramid.extend(values)
        for columns in (1, 2, 7, 60, 240):
            bounds = np.unique(generator.integers(0, len(values) + 1, columns + 1))
            if len(bounds) < 2:
                continue
            bounds[-1] = len(values)
            starts, ends = bounds[:-1], bounds[1:]
            if starts[-1] == ends[-1]:
                continue
            summary = pyramid.summarise(values, starts, ends)
            for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
                # Widened by less than a bucket, and a bucket is at most the range itself.
                reach = 0 if end - start < 16 or len(values) <= FEW_POINTS else end - start
                wide = values[max(0, start - reach) : end + reach]
                assert wide.min() <= summary.low[index] <= values[start:end].min()
                assert values[start:end].max() <= summary.high[index] <= wide.max()
                if not reach:
                    assert summary.mean[index] == pytest.approx(values[start:end].mean())
                assert summary.low[index] <= summary.mean[index] <= summary.high[index]


def test_pyramid_levels_hold_whole_buckets() -> None:
    values = np.random.default_rng(2).normal(size=100_003)
    pyramid = Pyramid()
    for end in (50_000, 50_001, 99_999, 100_003):
        pyramid.extend(values[:end])
    for level in pyramid.levels:
        whole = values[: len(values) // level.size * level.size].reshape(-1, level.size)
        np.testing.assert_array_equal(level.low.view, whole.min(axis=1))
        np.testing.assert_array_equal(level.high.view, whole.max(axis=1))
        np.testing.assert_allclose(level.total.view, whole.sum(axis=1), atol=1e-9)


# Smoothing


@pytest.mark.parametrize("weight", [0.1, 0.6, 0.9, 0.99])
def test_smoothing_against_a_plain_loop(weight: float) -> None:
    values = np.random.default_rng(3).normal(5, 1, 5000)
    expected, state = [], 0.0
    for number, value in enumerate(values, 1):
        state = weight * state + (1 - weight) * value
        expected.append(state / (1 - weight**number))
    np.testing.assert_allclose(Smoother(weight).extend(values), expected, rtol=1e-10)
    pieces = Smoother(weight)
    cuts = [0, 1, 2, 65, 64 * 3, 1000, 1000, 5000]
    grown = np.concatenate([pieces.extend(values[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)])
    np.testing.assert_allclose(grown, expected, rtol=1e-10)


# Series


def test_series_keep_out_what_is_not_finite_and_sort_the_rest() -> None:
    series = Series(
        SeriesStyle("a"), np.array([3.0, 1, 2, np.nan, 4]), np.array([30.0, np.nan, 20, 5, np.inf])
    )
    assert series.x.view.tolist() == [2, 3] and series.y.view.tolist() == [20, 30]
    assert series.gaps.view.tolist() == [1, 4]
    series.append(np.array([2.5]), np.array([25.0]))
    assert series.y.view.tolist() == [20, 25, 30]
    with pytest.raises(ValueError, match="2 x values for 1 y"):
        series.append(np.arange(2.0), np.arange(1.0))


def test_series_never_write_into_the_memory_they_were_given() -> None:
    x, y = np.arange(100.0), np.arange(100.0)
    series = Series(SeriesStyle("a"), x[:50], y[:50])
    series.append(np.array([60.0]), np.array([-1.0]))
    assert x.tolist() == y.tolist() == list(range(100))


def test_a_line_that_grew_is_the_line_made_at_once() -> None:
    generator = np.random.default_rng(4)
    x = np.cumsum(generator.random(60_000))
    y = generator.normal(size=60_000)
    edges = np.linspace(0, x[-1] * 1.1, 201)
    grown = Series(SeriesStyle("a"), x[:100], y[:100])
    at = 100
    while at < len(x):
        grown.track(False, 0.0).line(edges)
        step = int(generator.integers(1, 3000))
        grown.append(x[at : at + step], y[at : at + step])
        at += step
    first = grown.track(False, 0.0).line(edges)
    once = Series(SeriesStyle("a"), x, y).track(False, 0.0).line(edges)
    assert first is not None and once is not None
    np.testing.assert_array_equal(first.columns, once.columns)
    spans = np.searchsorted(x, edges)
    for index, column in enumerate(first.columns):
        own = y[spans[column] : spans[column + 1]]
        for line in (first, once):
            assert line.summary.low[index] <= own.min() and line.summary.high[index] >= own.max()
            assert line.summary.mean[index] == pytest.approx(own.mean(), abs=0.1)


def test_log_track_leaves_out_what_is_not_positive() -> None:
    series = Series(SeriesStyle("a"), np.arange(5.0), np.array([-1.0, 0, 10, 100, 1000]))
    track = series.track(True, 0.0)
    assert (track.skipped, track.y.view.tolist(), track.x.view.tolist()) == (2, [1, 2, 3], [2, 3, 4])
    series.append(np.array([5.0, 6]), np.array([-3.0, 1.0]))
    assert (track.skipped, track.y.view.tolist()) == (3, [1, 2, 3, 0])


def test_nearest() -> None:
    series = Series(SeriesStyle("a"), np.array([1.0, 2, 4]), np.array([10.0, 20, 40]))
    assert [series.nearest(x) for x in (-9, 1.4, 1.6, 3.1, 99)] == [
        (1, 10),
        (1, 10),
        (2, 20),
        (4, 40),
        (4, 40),
    ]


# Axes


def test_limits_hold_still_until_they_must_move() -> None:
    limits = Limits()
    first = limits.fit(2.13, 9.87, log=False)
    assert first[0] <= 2.13 and first[1] >= 9.87
    assert limits.fit(2.5, 9.0, log=False) == first
    assert limits.fit(2.13, 10.5, log=False) != first
    narrow = limits.fit(2.2, 3.1, log=False)
    assert narrow[1] - narrow[0] < 1.3
    for value in (0.0, 3.0, -2.0, 1e-9, 1e12):
        low, high = Limits().fit(value, value, log=False)
        assert low <= value < high
    low, high = Limits().fit(-3.0, -3.0, log=True)
    assert low < -3 < high


def test_a_live_axis_is_rescaled_rarely() -> None:
    view = Viewport()
    view.live = True
    spans = {view.update((1.0, float(end)), log=False) for end in range(2, 10_000)}
    assert len(spans) < 45
    assert all(low == 0.0 or high <= 25 for low, high in spans)


def test_zoom_keeps_its_center_and_ends_where_the_points_end() -> None:
    view = Viewport()
    view.update((0.0, 100.0), log=False)
    view.zoom(2, 25.0)
    assert view.update((0.0, 100.0), log=False) == (12.5, 62.5)
    view.pan(10)
    assert view.update((0.0, 100.0), log=False) == (50.0, 100.0)
    view.pan(-10)
    assert view.update((0.0, 200.0), log=False) == (0.0, 50.0)
    view.zoom(0.01, None)
    assert view.zoomed is None
    for _ in range(200):
        view.zoom(2, 1.0)
        view.update((0.0, 200.0), log=False)
    low, high = view.span
    assert high - low > 0 and low <= 1.0 <= high


@pytest.mark.parametrize("seed", range(5))
def test_ticks_are_few_round_and_inside(seed: int) -> None:
    generator = np.random.default_rng(seed)
    for _ in range(200):
        low = generator.normal() * 10.0 ** generator.integers(-6, 9)
        high = low + abs(generator.normal()) * 10.0 ** generator.integers(-3, 9) + abs(low) * 1e-3 + 1e-6
        ticks, step = linear_ticks(low, high, 6)
        assert 1 <= len(ticks) <= 7
        assert all(low - step * 1e-6 <= tick <= high + step * 1e-6 for tick in ticks)
        labels = [format_tick(tick, step) for tick in ticks]
        assert len(set(labels)) == len(labels)
        end = nice_end(high - low)
        assert high - low <= end * (1 + 1e-9) <= (high - low) * 1.4


def test_tick_labels() -> None:
    assert [format_tick(value, 500) for value in (0, 500, 1000, 1500)] == ["0", "500", "1.0k", "1.5k"]
    assert [format_tick(value, 1e6) for value in (2e6, 3e6)] == ["2M", "3M"]
    assert [format_tick(value, 0.5) for value in (0, 0.5, 10)] == ["0", "0.5", "10.0"]
    assert [format_tick(value, 1e-4) for value in (1e-4, 3e-4)] == ["1e-4", "3e-4"]
    assert [format_tick(value, 1800, "duration") for value in (0, 1800, 5400)] == ["0s", "30m", "1h30m"]
    assert [format_log_tick(value) for value in (1e-5, 0.02, 1.0, 5.0, 100.0, 2e5)] == [
        "1e-5",
        "0.02",
        "1",
        "5",
        "100",
        "200k",
    ]


def test_log_ticks() -> None:
    assert log_ticks(-3, 2, 6) == pytest.approx([1e-3, 1e-2, 0.1, 1, 10, 100])
    assert (
        log_ticks(-6, 6, 4) == pytest.approx([1e-6, 1e-3, 1, 1e3, 1e6], rel=1e-6)
        or len(log_ticks(-6, 6, 4)) <= 5
    )
    assert log_ticks(0, 1, 5) == pytest.approx([1, 2, 5, 10]) or len(log_ticks(0, 1, 5)) <= 5
    assert len(log_ticks(math.log10(2.1), math.log10(2.9), 5)) >= 2


def test_durations_and_values() -> None:
    assert [format_duration(s) for s in (0, 0.5, 45, 60, 750, 3900, 7200, 86400, 183600)] == [
        "0s",
        "0.5s",
        "45s",
        "1m",
        "12m30s",
        "1h05m",
        "2h",
        "1d",
        "2d03h",
    ]
    values = (2.5, 123.456, 0.012345, 3.2e-7, 1234567.0, 0.0, float("nan"))
    assert [format_value(value) for value in values] == [
        "2.500",
        "123.5",
        "0.01235",
        "3.20e-7",
        "1.235M",
        "0.000",
        "nan",
    ]
    assert format_value(123456.0, "count") == "123,456"


# Frame and colours


def test_only_changed_spans_differ() -> None:
    before, after = Frame(40, 3), Frame(40, 3)
    after.text(1, 3, "ab", 1)
    after.text(1, 7, "c", 1)
    after.text(1, 30, "d", 1)
    after.text(2, 0, " ", 2)
    assert [tuple(region) for region in after.changed(before)] == [(3, 1, 5, 1), (30, 1, 1, 1)]
    assert after.changed(after) == []


def test_text_is_literal_and_cannot_leave_its_line() -> None:
    assert clean("[red]a\x1b[2J\nb\u200b\u202e") == "[red]a[2J b"
    frame = Frame(10, 1)
    frame.text(0, 0, "数据 loss of it", 0)
    strip = frame.strip(0, [Style()])
    assert strip.text == "数据 loss…" and strip.cell_length == 10
    other = Frame(10, 1)
    other.text(0, 0, "数捗 loss of it", 0)
    assert [tuple(region) for region in other.changed(frame)] == [(2, 0, 2, 1)]


def test_every_style_is_one_and_curves_differ_in_16_colours() -> None:
    series = tuple(SeriesStyle(str(index), index) for index in range(8))
    base = Style(color="#e0e0e0", bgcolor="#121212")
    for depth in ("many", "few", "none"):
        table = style_table(base, series, depth)
        assert all(isinstance(style, Style) for style in table)
    few = style_table(base, series, "few")[5::2]
    assert len({str(style.color) for style in few}) == 8
    assert (
        len(set(patterns([SeriesStyle("a"), SeriesStyle("b"), SeriesStyle("c", dashed=True)], "none"))) == 3
    )
    assert style_table(base, (SeriesStyle("a", "no such colour"),), "many")
