"""The chart as a user meets it: in an app, by its keys, at any size and in any terminal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region

from workbench.store.growing import FloatArray
from workbench.tui.widgets.chart import Chart


class ChartApp(App[None]):
    def __init__(self, css: str = "") -> None:
        super().__init__()
        if css:
            self.stylesheet.add_source(css)

    def compose(self) -> ComposeResult:
        yield Chart("loss", x_label="step", x_kind="count", id="chart")

    @property
    def chart(self) -> Chart:
        return self.query_one(Chart)


def lines(app: App[None]) -> list[str]:
    """What is on the screen."""
    return [strip.text for strip in app.screen._compositor.render_strips()]


def screen(app: App[None]) -> str:
    return "\n".join(lines(app))


def curve(count: int = 500) -> tuple[FloatArray, FloatArray]:
    x = np.arange(1.0, count + 1)
    return x, 2 + 8 * np.exp(-x / count * 8)


def braille(text: str) -> int:
    return sum(0x2800 < ord(char) < 0x2900 for char in text)


@pytest.fixture(autouse=True)
def truecolour(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)
    yield


async def test_a_chart_shows_title_legend_axes_and_curve() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        assert "no points yet" in screen(app)
        app.chart.set_series("a", *curve(), label="run-1", color=0)
        app.chart.set_series("b", *curve(300), label="[b]base[/b]", color=1, dashed=True)
        await pilot.pause()
        shown = lines(app)
        assert shown[0].startswith("loss")
        assert "━━ run-1 2.003" in shown[1] and "╍╍ [b]base[/b] 2.003" in shown[1]
        assert "10┤" in screen(app) and "└" in shown[-2]
        assert [part for part in shown[-1].split() if part] == ["0", "100", "200", "300", "400", "step"]
        assert braille(screen(app)) > 60
        assert app.chart.series_keys == ["a", "b"]
        app.chart.remove_series("a")
        await pilot.pause()
        assert "run-1" not in screen(app)
        app.chart.clear()
        await pilot.pause()
        assert "no points yet" in screen(app)


async def test_keys() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        chart = app.chart
        x, y = curve()
        chart.set_series("a", x, y - 2.1, label="run", color=0)
        chart.focus()
        await pilot.press("y")
        assert chart.log_y and "log y" in screen(app) and "not positive, not shown" in screen(app)
        await pilot.press("y", "s")
        assert chart.smoothing == 0.6 and "smooth 0.6" in screen(app) and not chart.log_y
        await pilot.press("s", "s", "s")
        assert chart.smoothing == 0.0
        before = screen(app)
        await pilot.press("plus", "plus")
        assert "zoomed" in screen(app)
        zoomed = chart._viewport.span
        await pilot.press("right")
        assert chart._viewport.span[0] > zoomed[0]
        await pilot.press("left")
        assert chart._viewport.span == pytest.approx(zoomed)
        await pilot.press("minus", "0")
        assert screen(app) == before
        await pilot.press("c")
        assert chart.crosshair is not None
        place = chart.crosshair
        await pilot.press("right", "right")
        assert chart.crosshair > place
        nearest = round(chart.crosshair)
        assert f"step {nearest}" in lines(app)[1]
        assert f"run {y[nearest - 1] - 2.1:.4g}"[:9] in lines(app)[1]
        assert "│" in lines(app)[5][10:]
        await pilot.press("c")
        assert chart.crosshair is None and screen(app) == before


async def test_live_points_refresh_only_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    app = ChartApp()
    async with app.run_test(size=(120, 30)) as pilot:
        chart = app.chart
        x, y = curve(100_000)
        for number in range(4):
            chart.set_series(str(number), x, y + number, label=f"run-{number}", color=number)
            chart.append(str(number), x[-1:] + 1, y[-1:] + number)
        await pilot.pause()
        refreshed: list[Region | None] = []
        original = Chart.refresh

        def spy(chart: Chart, *regions: Region, **options: bool) -> Chart:
            refreshed.extend(regions or [None])
            return original(chart, *regions, **options)

        monkeypatch.setattr(Chart, "refresh", spy)
        for tick in range(10):
            new = np.arange(100_002.0 + 20 * tick, 100_022.0 + 20 * tick)
            for number in range(4):
                chart.append(str(number), new, np.full(20, 2.0 + number) + tick / 500)
            await pilot.pause()
        assert refreshed and None not in refreshed
        assert sum(region.area for region in refreshed if region) < 10 * 150
        # What the spans left on the screen is what a full redraw shows.
        incremental = screen(app)
        monkeypatch.undo()
        chart.refresh()
        await pilot.pause()
        assert screen(app) == incremental


async def test_a_live_axis_ends_in_a_round_number_and_stays() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.chart.set_series("a", *curve(410), label="run")
        await pilot.pause()
        assert app.chart._viewport.span == (0.0, 410.0) or app.chart._viewport.span[1] == 410.0
        app.chart.append("a", np.array([411.0]), np.array([2.0]))
        await pilot.pause()
        assert app.chart._viewport.span[1] == pytest.approx(500, abs=2)
        with pytest.raises(KeyError):
            app.chart.append("unheard of", np.array([1.0]), np.array([2.0]))


async def test_smoothing_shows_the_average_bright_and_the_points_faint() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        x = np.arange(200.0)
        y = 5 + np.where(x % 2 == 0, 1.0, -1.0)
        app.chart.set_series("a", x, y, label="run", color="#ff0000")
        app.chart.smoothing = 2.0
        await pilot.pause()
        assert app.chart.smoothing == 0.99
        table = app.chart._table
        assert app.chart._frame is not None
        used = set(app.chart._frame.styles[2:-2].ravel().tolist())
        assert {5, 6} <= used and table[5].color != table[6].color
        assert "run 5.0" in lines(app)[1] or "run 4.9" in lines(app)[1]


async def test_not_finite_values_are_marked_on_the_axis() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        x, y = curve(100)
        y[50] = np.nan
        y[51] = np.inf
        app.chart.set_series("a", x, y, label="run")
        app.chart.append("a", np.array([101.0]), np.array([-np.inf]))
        await pilot.pause()
        assert lines(app)[-2].count("×") == 2
        assert braille(screen(app)) > 40


@pytest.mark.parametrize("values", [[3.5], [3.5, 3.5, 3.5], [0.0], [float("nan")], [-1.0, 0.0]])
@pytest.mark.parametrize("log", [False, True])
async def test_poor_series(values: list[float], log: bool) -> None:
    app = ChartApp()
    async with app.run_test(size=(60, 15)) as pilot:
        app.chart.log_y = app.chart.log_x = log
        app.chart.set_series("a", np.arange(1.0, len(values) + 1), np.array(values), label="run")
        await pilot.pause()
        drawable = [value for value in values if value > 0 or (value <= 0 and not log)]
        assert (braille(screen(app)) > 0) == bool(drawable)
        if not drawable:
            wanted = "no points yet" if np.isnan(values[0]) else "no positive values"
            assert wanted in screen(app)


async def test_a_step_nought_is_skipped_on_a_log_x_axis_and_said_so() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.chart.set_series("a", np.arange(1001.0), np.arange(1001.0), label="run")
        app.chart.log_x = True
        await pilot.pause()
        assert "1 not positive, not shown" in screen(app) and "log x" in screen(app)
        assert {"1", "10", "100"} <= set(lines(app)[-1].split())


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (5, 3), (12, 4), (20, 5), (33, 9), (300, 100)])
async def test_any_size(size: tuple[int, int]) -> None:
    app = ChartApp()
    async with app.run_test(size=size) as pilot:
        chart = app.chart
        for number in range(5):
            chart.set_series(str(number), *curve(), label=f"数据 run {number}", color=number)
        chart.crosshair = 100.0
        chart.smoothing = 0.9
        await pilot.pause()
        shown = lines(app)
        assert len(shown) == size[1]
        if size[0] >= 12:
            assert braille(screen(app)) > 5
        chart.crosshair = None
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert braille(screen(app)) > 60
        await pilot.resize_terminal(*size)
        await pilot.pause()
        assert len(lines(app)) == size[1]


async def test_no_color_tells_curves_apart_by_letters_and_dashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        x, y = curve()
        app.chart.set_series("a", x, y, label="run-1", color=0)
        app.chart.set_series("b", x, y + 2, label="run-2", color=1)
        app.chart.set_series("c", x, y + 4, label="base", color=1, dashed=True)
        await pilot.pause()
        assert app.chart.depth == "none"
        for text in ("A ━━ run-1", "B ┅┅ run-2", "C ╍╍ base"):
            assert text in lines(app)[1]
        for letter in "ABC":
            assert any(line.rstrip().endswith(letter) for line in lines(app)[2:])
        assert app.export_screenshot()
        for strip in app.screen._compositor.render_strips():
            assert all(segment.style is not None for segment in strip)


async def test_16_colours_hide_the_envelope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLORTERM", "")
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        generator = np.random.default_rng(0)
        app.chart.set_series("a", np.arange(20_000.0), generator.normal(size=20_000), label="run", color=0)
        await pilot.pause()
        assert app.chart.depth == "few"
        assert app.chart._frame is not None
        assert not (app.chart._frame.styles == 6).any()
        assert (app.chart._frame.styles == 5).any()


async def test_ascii_is_ascii() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        chart = app.chart
        chart.symbols = "ascii"
        x, y = curve()
        y[7] = np.nan
        chart.set_series("a", x, y, label="a rather long label " * 3)
        chart.set_series("b", x, y + 1, label="b", color=1, dashed=True)
        chart.crosshair = 250.0
        chart.smoothing = 0.6
        await pilot.pause()
        assert screen(app).isascii()
        assert "*" in screen(app) and "x" in lines(app)[-2]
        chart.symbols = "block"
        await pilot.pause()
        assert any(glyph in screen(app) for glyph in "▀▄█▌▐")


async def test_a_change_of_focus_sends_nothing_and_one_of_theme_all() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.chart.set_series("a", *curve(), label="run", color=0)
        await pilot.pause()
        before = app.screen._compositor.render_strips()
        frame = app.chart._frame
        app.chart.focus()
        await pilot.pause()
        app.screen.set_focus(None)
        await pilot.pause()
        assert frame is not None and app.chart._frame is not None
        assert app.chart._frame.changed(frame) == []
        app.theme = "textual-light"
        await pilot.pause()
        after = app.screen._compositor.render_strips()
        assert [strip.text for strip in after] == [strip.text for strip in before]
        assert app.chart._base.bgcolor == next(iter(after[10])).style.bgcolor  # type: ignore[union-attr]
        assert all(one != other for one, other in zip(before, after, strict=True))


async def test_borders_themes_and_hidden_charts() -> None:
    app = ChartApp("Chart { border: round white; padding: 1 2; }")
    async with app.run_test(size=(80, 24)) as pilot:
        app.chart.set_series("a", *curve(), label="run", color=0)
        await pilot.pause()
        shown = screen(app)
        assert lines(app)[2][3:7] == "loss"
        background = app.chart._base.bgcolor
        app.theme = "textual-light"
        await pilot.pause()
        assert screen(app) == shown and app.chart._base.bgcolor != background
        app.chart.display = False
        await pilot.pause()
        app.chart.append("a", np.array([501.0]), np.array([1.0]))
        await pilot.pause()
        app.chart.display = True
        await pilot.pause()
        assert "run 1.000" in screen(app)


async def test_the_mouse_moves_the_crosshair_only_when_it_is_on() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.chart.set_series("a", *curve(), label="run", color=0)
        await pilot.pause()
        await pilot.hover(Chart, offset=(40, 10))
        assert app.chart.crosshair is None
        app.chart.crosshair = 5.0
        await pilot.hover(Chart, offset=(60, 10))
        assert app.chart.crosshair == pytest.approx(500 * (60 - 5 + 0.5) / 75, rel=0.02)
