"""Events of a run in the Train tab: the pane that tells them, and the marks on the charts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from workbench.recipe import Recipe
from workbench.store.events import NOTE, EventWriter, RunEvent
from workbench.store.runs import Run, create_run
from workbench.tui.train.events_pane import EventsSource
from workbench.tui.train.marks import MarksReader
from workbench.tui.widgets.chart import Mark, SeriesStyle
from workbench.tui.widgets.chart.axes import Viewport
from workbench.tui.widgets.chart.frame import Frame
from workbench.tui.widgets.chart.options import Options
from workbench.tui.widgets.chart.palette import WARNING
from workbench.tui.widgets.chart.picture import draw
from workbench.tui.widgets.chart.series import Series

SPIKE = RunEvent(
    12,
    "loss_spike",
    action="rolled_back",
    happened="It rose.",
    why="Rows \x1b[31m.",
    rows={
        "first": 4,
        "end": 24,
        "rows": [{"row": n, "sources": ["a.txt"], "begins": "x"} for n in range(20)],
    },
    to_step=8,
    num_tokens=1200,
    time=1050.0,
)
SCALE = RunEvent(14, "loss_scale", severity=NOTE, happened="fp16.", num_tokens=1400, time=1060.0)


@pytest.fixture
def run(home: Path) -> Run:
    return create_run(Recipe(objective={"name": "sft"}, model={"model_name_or_path": "m"}), "sft")


def written(run: Run, *events: RunEvent) -> None:
    writer = EventWriter(run.events_path)
    for event in events:
        writer.write(event)
    writer.close()


def test_the_pane_tells_the_newest_first_and_only_what_is_new(run: Run) -> None:
    source = EventsSource(run, "braille")
    quiet = ["".join(text for text, _ in line) for line in source.poll() or []]
    assert quiet[0].startswith("No events") and source.poll() is None
    written(run, SPIKE, SCALE)
    lines = ["".join(text for text, _ in line) for line in source.poll() or []]
    assert lines[0].startswith("△ step 14: loss scale")
    spike = next(
        n for n, line in enumerate(lines) if line.startswith("▲ step 12: loss spike, back to step 8")
    )
    assert lines[spike + 1].split() == ["what", "It", "rose."] and "\x1b" not in "".join(lines)
    assert sum(line.startswith("  row ") for line in lines) == 16 and "4 more" in lines[-1]
    assert source.poll() is None
    assert (EventsSource(run, "ascii").poll() or [])[0][0][0].startswith("^")


def test_events_have_a_place_on_every_axis(run: Run) -> None:
    reader, runs = MarksReader(), {run.name: run}
    assert reader.read(1, runs, "step", lambda name: 1000.0) is None
    written(run, SPIKE, SCALE, replace(SCALE, step=15, num_tokens=0, time=0.0))
    places = {}
    for serial, axis in enumerate(("step", "num_tokens", "time"), 2):
        message = reader.read(serial, runs, axis, lambda name: 1000.0)  # type: ignore[arg-type]
        assert message is not None and message.serial == serial
        places[axis] = [(event.x, event.grave) for event in message.events]
    assert places["step"] == [(12, True), (14, False), (15, False)]
    assert places["num_tokens"] == [(1200, True), (1400, False)]
    assert places["time"] == [(50, True), (60, False)]
    # Told once, and again when they are to be drawn no longer.
    assert reader.read(4, runs, "time", lambda name: 1000.0) is None
    gone = reader.read(5, {}, "time", lambda name: None)
    assert gone is not None and gone.events == () and reader.read(5, {}, "time", lambda name: None) is None


def text_of(frame: Frame) -> list[str]:
    return ["".join(map(chr, row)) for row in frame.codes.tolist()]


@pytest.mark.parametrize(("symbols", "glyphs"), [("braille", "▲△┊"), ("ascii", "!^'"), ("block", "▲△┊")])
def test_marks_stand_on_the_axis_of_a_chart(symbols: str, glyphs: str) -> None:
    x = np.arange(1.0, 101.0)
    series = {"a": Series(SeriesStyle("a"), x, np.log(x))}
    marks = (
        Mark(50.0, "loss spike"),
        Mark(50.0, "and a note", grave=False),
        Mark(80.0, "scale", grave=False),
    )
    options = Options(symbols=symbols, marks=(*marks, Mark(500.0, "not in view")), depth="few")  # type: ignore[arg-type]
    plain = draw(series, replace(options, marks=()), Viewport(), 60, 14)
    marked = draw(series, options, Viewport(), 60, 14)
    *_, axis, labels = text_of(marked)
    before = text_of(plain)
    grave, note, line = tuple(glyphs)
    assert axis.count(grave) == axis.count(note) == 1 and labels == before[-1]
    column = axis.index(grave)
    assert marked.styles[-2, column] == WARNING
    # The line up from a grave one hides nothing of the curve.
    for row, (new, old) in enumerate(zip(text_of(marked)[:-2], before[:-2], strict=True)):
        assert new[:column] == old[:column] and new[column + 1 :] == old[column + 1 :]
        assert row < 2 or new[column] == (line if old[column] == " " else old[column])
    # Under the crosshair a mark says what it is.
    told = draw(series, replace(options, crosshair=50.0), Viewport(), 60, 14)
    assert "loss spike, and a note" in text_of(told)[0]
    assert "scale" not in text_of(told)[0]
