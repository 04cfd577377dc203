"""A live redraw of four series of 10^6 points at 120×30, against textual-plotext on 10^3 points each.

    python tests/benchmarks/chart_redraw.py [points]

Both charts stand in the same kind of Textual app; a redraw is: points arrive, the widget is told, the
event loop has brought the screen up to date, and the driver has written what changed. A headless app
would leave out the last part, turning cells into escape sequences: both write to the null device here
instead. plotext gets every 1000th point, or it would take seconds; it draws in its default marker and
in braille, which has our resolution. All alternate, redraw by redraw; CPU time of the process. The
ratios without the writing, as headless apps draw, are measured too. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time

import numpy as np
from textual.app import App, ComposeResult
from textual.drivers.headless_driver import HeadlessDriver
from textual_plotext import PlotextPlot

from workbench.store.growing import FloatArray
from workbench.tui.widgets.chart import Chart
from workbench.tui.widgets.chart.axes import Viewport
from workbench.tui.widgets.chart.options import Options
from workbench.tui.widgets.chart.picture import draw

SIZE = (120, 30)
SERIES = 4
NEW = 20
ROUNDS = 40


def points(count: int, number: int) -> tuple[FloatArray, FloatArray]:
    generator = np.random.default_rng(number)
    x = np.arange(1.0, count + 1)
    return x, 2 + number / 3 + 8 * np.exp(-x / count * 9) + generator.normal(0, 0.12, count)


class Written(HeadlessDriver):
    """A driver that an app writes to as to a terminal; nobody reads it."""

    sink = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115

    @property
    def is_headless(self) -> bool:
        return False

    def write(self, data: str) -> None:
        self.sink.write(data)

    def flush(self) -> None:
        self.sink.flush()


class Ours(App[None]):
    def compose(self) -> ComposeResult:
        yield Chart("loss", x_label="step", x_kind="count")


class Plotext(App[None]):
    def compose(self) -> ComposeResult:
        yield PlotextPlot()


async def measure(count: int, *, written: bool) -> dict[str, float]:
    """Medians in milliseconds, and the ratios; `written` as to a terminal, or only composed."""
    data = [points(count, number) for number in range(SERIES)]
    ours, theirs = Ours(driver_class=Written), Plotext(driver_class=Written)
    async with (
        ours.run_test(headless=not written, size=SIZE) as our_pilot,
        theirs.run_test(headless=not written, size=SIZE) as their_pilot,
    ):
        chart, plot = ours.query_one(Chart), theirs.query_one(PlotextPlot)
        for number, (x, y) in enumerate(data):
            chart.set_series(str(number), x, y, label=f"run {number}", color=number)
            chart.append(str(number), x[-1:] + 1, y[-1:])
        await our_pilot.pause()
        our_times: list[float] = []
        their_times: dict[str, list[float]] = {"hd": [], "braille": []}
        idle: list[float] = []
        for index in range(ROUNDS):
            new = np.arange(count + 2 + index * NEW, count + 2 + (index + 1) * NEW, dtype=np.float64)
            start = time.process_time()
            for number in range(SERIES):
                chart.append(str(number), new, 2 + number / 3 + np.sin(new))
            await our_pilot.pause()
            our_times.append(time.process_time() - start)
            start = time.process_time()
            await our_pilot.pause()
            idle.append(time.process_time() - start)
            for marker, times in their_times.items():
                start = time.process_time()
                plot.plt.clear_data()
                for number, (x, y) in enumerate(data):
                    step = max(1, len(x) // 1000)
                    plot.plt.plot(
                        x[::step].tolist(), y[::step].tolist(), label=f"run {number}", marker=marker
                    )
                plot.refresh()
                await their_pilot.pause()
                times.append(time.process_time() - start)
        composed: list[float] = []
        viewport = Viewport()
        for _ in range(ROUNDS):
            start = time.process_time()
            draw(chart._series, Options(title="loss"), viewport, *SIZE)
            composed.append(time.process_time() - start)
    # Waiting for the event loop costs the pilot's own time in both; it is measured and taken off ours
    # and theirs alike.
    pause = statistics.median(idle)
    our_time = statistics.median(our_times) - pause
    default, braille = (statistics.median(times) - pause for times in their_times.values())
    return {
        "chart_cpu_ms": round(our_time * 1e3, 2),
        "chart_compose_cpu_ms": round(statistics.median(composed) * 1e3, 2),
        "plotext_cpu_ms": round(default * 1e3, 2),
        "plotext_braille_cpu_ms": round(braille * 1e3, 2),
        "pause_cpu_ms": round(pause * 1e3, 2),
        "ratio": round(default / our_time, 1),
        "ratio_braille": round(braille / our_time, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("points", type=int, nargs="?", default=1_000_000)
    count = parser.parse_args().points
    written = asyncio.run(measure(count, written=True))
    headless = asyncio.run(measure(count, written=False))
    print(json.dumps({"points_per_series": count, **written, "headless": headless, "target_ratio": 20}))


if __name__ == "__main__":
    # The number of colours decides whether our chart draws its envelope; without it would be too easy.
    os.environ["COLORTERM"] = "truecolor"
    os.environ.pop("NO_COLOR", None)
    main()
