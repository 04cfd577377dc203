"""Reading the disk a few times a second, in one thread, and posting only what changed.

Only what is on screen is read: the runs' status files, the metrics of the runs that are drawn, and the
pane that is open. When nothing changes nothing is posted, so an idle interface writes no byte.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from textual.message import Message

from workbench import paths
from workbench.errors import WorkbenchError, storage_error
from workbench.store.runs import Run, list_runs
from workbench.store.status import ACTIVE_STATES
from workbench.tui.train.axes import XAxis
from workbench.tui.train.marks import MarksReader
from workbench.tui.train.panes import PANES, Subject
from workbench.tui.train.rows import Row
from workbench.tui.train.sources import Source
from workbench.tui.widgets.text_lines import Line

if TYPE_CHECKING:
    from workbench.store.growing import FloatArray
    from workbench.store.metrics import MetricsTail

PERIOD = 0.3
# Runs at rest, and the folder itself, are looked at once in this many rounds.
SLOW_ROUNDS = 4
TAILS_KEPT = 16

About: TypeAlias = tuple[str, str, str, str]
"""A pane, the run it is about, the baseline, and what bars are drawn with."""


@dataclass(frozen=True)
class Watch:
    """What is on screen, and so worth reading."""

    serial: int = 0
    drawn: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    axis: XAxis = "step"
    pane: str = ""
    run: str = ""
    baseline: str = ""
    symbols: str = "braille"

    @property
    def about(self) -> About:
        """What the open pane depends on."""
        return (self.pane, self.run, self.baseline, self.symbols)


@dataclass(frozen=True)
class Points:
    """New points of one metric of one run; `fresh` ones replace all that were there.

    `predicted` is empty for what was measured, else the part of a prediction that they are.
    """

    run: str
    metric: str
    fresh: bool
    x: FloatArray
    y: FloatArray
    predicted: str = ""


class RunsRead(Message):
    """The rows of all runs, after one of them changed."""

    def __init__(self, rows: tuple[Row, ...]) -> None:
        super().__init__()
        self.rows = rows


class PointsRead(Message):
    """New points of what is drawn, and the names of all metrics there are."""

    def __init__(self, serial: int, points: list[Points], names: tuple[str, ...]) -> None:
        super().__init__()
        self.serial, self.points, self.names = serial, points, names


class PaneRead(Message):
    """New content of the open pane, for the run it was read of."""

    def __init__(self, about: About, lines: list[Line]) -> None:
        super().__init__()
        self.about, self.lines = about, lines


class Trouble(Message):
    """The disk refused to be read."""

    def __init__(self, error: WorkbenchError) -> None:
        super().__init__()
        self.error = error


class Poller:
    """The reading thread: `run` is its body, everything else is called from the interface."""

    def __init__(self, post: Callable[[Message], object]) -> None:
        self._post = post
        self._wake = threading.Event()
        self._ended = False
        self._watch = Watch()
        self._relist = True
        self._runs = RunReader()
        self._series = SeriesReader()
        self._marks = MarksReader()
        self._pane = PaneReader(self._runs.row)
        self._trouble = ""

    def watch(self, watch: Watch) -> None:
        """Read this from now on, at once."""
        self._watch = watch
        self._wake.set()

    def poke(self) -> None:
        """Look at the folder of runs again at once."""
        self._relist = True
        self._wake.set()

    def end(self) -> None:
        """Let the thread end."""
        self._ended = True
        self._wake.set()

    def run(self) -> None:
        """Read until `end` is called."""
        while not self._ended:
            # Cleared first: what is asked for during a round is done in the next, without a wait.
            self._wake.clear()
            behind = self.round()
            self._wake.wait(0 if behind else PERIOD)

    def round(self) -> bool:
        """Read everything once; returns whether a long file has more to read at once."""
        watch = self._watch
        relist, self._relist = self._relist, False
        behind = False
        try:
            if rows := self._runs.read(relist):
                self._post(RunsRead(rows[0]))
            points, names, behind = self._series.read(watch, self._runs.rows)
            if points:
                self._post(PointsRead(watch.serial, points, names))
            drawn = {name: self._runs.rows[name].run for name in watch.drawn if name in self._runs.rows}
            if marks := self._marks.read(watch.serial, drawn, watch.axis, self._series.first_time):
                self._post(marks)
            lines = self._pane.read(watch, self._runs.rows)
            if lines is not None:
                self._post(PaneRead(watch.about, lines))
            self._trouble = ""
        except OSError as error:
            self._report(storage_error(error, error.filename or paths.home()))
        except WorkbenchError as error:
            self._report(error)
        return behind

    def _report(self, error: WorkbenchError) -> None:
        # Once, not at every round for as long as it lasts.
        if error.render() != self._trouble:
            self._trouble = error.render()
            self._post(Trouble(error))


class RunReader:
    """The status of every run, read again only when its file changed."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self._stamps: dict[str, tuple[int, int]] = {}
        self._runs: list[Run] | None = None
        self._round = 0
        self._posted: tuple[Row, ...] | None = None

    def row(self, name: str) -> Row | None:
        return self.rows.get(name)

    def read(self, relist: bool) -> tuple[tuple[Row, ...]] | None:
        """All rows in a one-element tuple when any differs from the last time, else None."""
        slow = relist or self._runs is None or self._round % SLOW_ROUNDS == 0
        self._round += 1
        if slow or self._runs is None:
            self._runs = list_runs()
            present = {run.name for run in self._runs}
            self.rows = {name: row for name, row in self.rows.items() if name in present}
        for run in self._runs:
            known = self.rows.get(run.name)
            if known is None or slow or known.status.state in ACTIVE_STATES:
                self.rows[run.name] = self._row(run, known)
        rows = tuple(self.rows[run.name] for run in self._runs)
        if rows == self._posted:
            return None
        self._posted = rows
        return (rows,)

    def _row(self, run: Run, known: Row | None) -> Row:
        try:
            info = run.status_path.stat()
            stamp = (info.st_mtime_ns, info.st_ino)
        except OSError:
            stamp = (0, 0)
        if known is None or self._stamps.get(run.name) != stamp:
            self._stamps[run.name] = stamp
            status = run.status()
            return Row(run, status, status.seen_state(), status.created)
        state = known.status.seen_state()
        return known if state == known.state else Row(run, known.status, state, known.created)


class SeriesReader:
    """The metrics of the runs that are drawn."""

    def __init__(self) -> None:
        self._tails: OrderedDict[str, MetricsTail] = OrderedDict()
        self._sent: dict[tuple[str, str], tuple[int, int]] = {}
        self._serial = -1
        self._names: tuple[str, ...] = ()
        self._due = 0.0
        self._answered = False

    def read(self, watch: Watch, rows: dict[str, Row]) -> tuple[list[Points], tuple[str, ...], bool]:
        """The points not sent yet, the names of all metrics, and whether there is more to read."""
        if watch.serial != self._serial:
            self._serial, self._sent, self._due, self._answered = watch.serial, {}, 0.0, False
        behind = False
        tails = {name: self._tail(rows[name].run) for name in watch.drawn if name in rows}
        for tail in tails.values():
            tail.poll()
            behind |= tail.behind
        if behind and time.monotonic() < self._due:
            return [], self._names, True
        self._due = time.monotonic() + PERIOD
        names = tuple(dict.fromkeys(name for tail in tails.values() for name in tail.names))
        points = [
            new
            for run, tail in tails.items()
            for metric in watch.metrics
            if (new := self._new(run, metric, tail, watch.axis)) is not None
        ]
        points += self._predicted([rows[name].run for name in tails], watch)
        if names != self._names or not (self._answered or behind):
            # A metric seen for the first time is news even before anything of it is drawn; and so is that
            # there is nothing.
            self._names = names
            points = points or [_nothing()]
        self._answered |= not behind
        return points, names, behind

    def _predicted(self, runs: list[Run], watch: Watch) -> list[Points]:
        """What was predicted of the runs, once for each look at them."""
        from workbench.tui.train.predicted import METRIC, predicted_points

        if METRIC not in watch.metrics:
            return []
        found = []
        for run in runs:
            if (run.name, "predicted") not in self._sent:
                self._sent[run.name, "predicted"] = (0, 0)
                parts = predicted_points(run, watch.axis)
                found += [Points(run.name, METRIC, True, x, y, part) for part, (x, y) in parts.items()]
        return found

    def first_time(self, name: str) -> float | None:
        """When a drawn run logged its first record in force."""
        tail = self._tails.get(name)
        return None if tail is None else tail.first_time

    def _tail(self, run: Run) -> MetricsTail:
        from workbench.store.metrics import MetricsTail

        tail = self._tails.pop(run.name, None)
        if tail is None or tail.path != run.metrics_path:
            tail = MetricsTail(run.metrics_path, paths.cache_dir("metrics"))
        self._tails[run.name] = tail
        while len(self._tails) > TAILS_KEPT:
            self._tails.popitem(last=False)
        return tail

    def _new(self, run: str, metric: str, tail: MetricsTail, axis: XAxis) -> Points | None:
        count = tail.count(metric)
        generation, sent = self._sent.get((run, metric), (-1, 0))
        fresh = generation != tail.generation
        if not fresh and count == sent:
            return None
        if fresh and count == 0 and generation == -1:
            return None
        self._sent[run, metric] = (tail.generation, count)
        x, y = tail.series(metric, axis)
        start = 0 if fresh else sent
        return Points(run, metric, fresh, x[start:], y[start:])


def _nothing() -> Points:
    import numpy as np

    return Points("", "", False, np.empty(0), np.empty(0))


class PaneReader:
    """The content of the open pane."""

    def __init__(self, row: Callable[[str], Row | None]) -> None:
        self._row = row
        self._about: About | None = None
        self._source: Source | None = None

    def read(self, watch: Watch, rows: dict[str, Row]) -> list[Line] | None:
        """The lines to show when they changed, else None."""
        if watch.about != self._about or self._source is None:
            self._about = watch.about
            self._source = self._open(watch, rows)
        return self._source.poll() if self._source else None

    def _open(self, watch: Watch, rows: dict[str, Row]) -> Source | None:
        pane = next((pane for pane in PANES if pane.id == watch.pane), None)
        row = rows.get(watch.run)
        if pane is None or (row is None and pane.of_run):
            return None
        run = row.run if row else Run(paths.runs_dir() / watch.run)
        baseline = rows.get(watch.baseline)
        return pane.source(
            Subject(run, baseline.run if baseline else None, lambda: self._row(watch.run), watch.symbols)
        )
