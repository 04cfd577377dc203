"""The charts: one a metric, as many as there is room for, all with the same runs in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.app import App, ComposeResult
from textual.containers import Container
from textual.events import Resize
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static

from workbench.tui.settings import Symbols
from workbench.tui.text import reveal_control
from workbench.tui.train.axes import AXES, XAxis
from workbench.tui.train.default_charts import COMPANION, DEFAULT_METRICS

if TYPE_CHECKING:
    from workbench.tui.train.marks import PlacedEvent
    from workbench.tui.train.polling import Points
    from workbench.tui.widgets.chart import Chart

CHART_WIDTH, CHART_HEIGHT = 46, 11


@dataclass(frozen=True)
class Drawn:
    """A run in the charts: its colour's number, and whether it is the dashed baseline."""

    run: str
    colour: int
    dashed: bool = False


class ChartGrid(Container):
    """Draws `drawn` runs by `metrics`; says in words why there is nothing to draw."""

    DEFAULT_CSS = """
    ChartGrid { layout: grid; grid-size: 1 1; grid-gutter: 0 2; height: 1fr; width: 1fr; }
    ChartGrid > #no-chart { width: 100%; height: 100%; padding: 1 2; color: $text-muted; column-span: 3; }
    """

    drawn: reactive[tuple[Drawn, ...]] = reactive(())
    metrics: reactive[tuple[str, ...]] = reactive(DEFAULT_METRICS)
    axis: reactive[XAxis] = reactive[XAxis]("step")
    symbols: reactive[Symbols] = reactive[Symbols]("braille")
    first: reactive[int] = reactive(0)
    maximised: reactive[str] = reactive("")
    words: reactive[str] = reactive("")
    ready: reactive[bool] = reactive(False)
    """Charts import numpy, so they wait until the table of runs is on screen."""

    class Changed(Message):
        """Other metrics are on screen than before."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._charts: dict[str, Chart] = {}
        self._visible: tuple[str, ...] = ()
        self._has_points: set[str] = set()
        self._events: tuple[PlacedEvent, ...] = ()

    def compose(self) -> ComposeResult:
        yield Static(id="no-chart", markup=False)

    @property
    def on_screen(self) -> tuple[str, ...]:
        """The metrics that have a chart on screen."""
        return self._visible

    @property
    def wanted(self) -> tuple[str, ...]:
        """The metrics whose points are needed: the visible ones and their companions."""
        companions = [COMPANION[name] for name in self._visible if name in COMPANION and len(self.drawn) == 1]
        return tuple(dict.fromkeys([*self._visible, *companions]))

    @property
    def charts(self) -> list[Chart]:
        """The charts on screen, in order."""
        return [self._charts[name] for name in self._visible if name in self._charts]

    def page(self, by: int) -> None:
        """Show the next metrics, or those before, when there is no room for all."""
        if self.maximised:
            order = self.metrics
            index = order.index(self.maximised) if self.maximised in order else 0
            self.maximised = order[(index + by) % len(order)]
            self.charts[0].focus()
        elif len(self._visible) < len(self.metrics):
            had_focus = any(chart.has_focus for chart in self.charts)
            self.first = (self.first + by) % len(self.metrics)
            if had_focus and self.charts:
                self.charts[0].focus()

    def on_resize(self, event: Resize) -> None:
        self._arrange()

    def watch_metrics(self) -> None:
        self._arrange()

    watch_first = watch_maximised = watch_ready = watch_metrics

    def _arrange(self) -> None:
        """Choose what is visible, make its charts, lay them out."""
        width, height = self.size
        if not width or not height or not self.is_attached or not self.ready:
            return
        columns = max(1, min(3, width // CHART_WIDTH))
        rows = max(1, height // CHART_HEIGHT)
        if self.maximised:
            chosen: tuple[str, ...] = (self.maximised,)
        else:
            turned = self.metrics[self.first :] + self.metrics[: self.first]
            chosen = turned[: columns * rows]
        columns = min(columns, len(chosen)) or 1
        if columns == 3 and len(chosen) in (4, 5) and rows > 2:
            columns = 2
        if chosen != self._visible:
            self._visible = chosen
            self._make(chosen)
            self.post_message(self.Changed())
        used = max(1, -(-len(chosen) // columns))
        self.styles.grid_size_columns, self.styles.grid_size_rows = columns, used
        spare = columns * used - len(chosen)
        # Where there are many rows, the first one gets more height, as the one that matters most.
        self.styles.grid_rows = "3fr" + " 2fr" * (used - 1) if used > 2 else "1fr"
        for index, chart in enumerate(self.charts):
            # The room that is left over in the last row is the first chart's too.
            chart.styles.column_span = 1 + spare if index == 0 else 1
        self._show_words()

    def _make(self, chosen: tuple[str, ...]) -> None:
        from workbench.tui.widgets.chart import Chart

        for name in chosen:
            if name not in self._charts:
                chart = Chart(title=reveal_control(name))
                chart.symbols = self.symbols
                self._charts[name] = chart
                self.mount(chart)
                self._mark(chart)
        self._label_axis()
        for index, name in enumerate(chosen):
            if index:
                self.move_child(self._charts[name], after=self._charts[chosen[index - 1]])

    def watch_words(self) -> None:
        self._show_words()

    def _show_words(self) -> None:
        """Charts when there is anything in them, else the reason why not."""
        if not self.is_mounted:
            return
        empty = not any(name in self._has_points for name in self._visible)
        note = self.query_one("#no-chart", Static)
        note.update(self.words)
        note.display = empty and bool(self.words)
        for name, chart in self._charts.items():
            chart.display = name in self._visible and not note.display

    def watch_drawn(self, old: tuple[Drawn, ...], new: tuple[Drawn, ...]) -> None:
        gone = {entry.run for entry in old} - {entry.run for entry in new}
        for metric, chart in self._charts.items():
            for key in list(chart.series_keys):
                name, run = _parts(key)
                if run in gone or (name != metric and len(new) != 1):
                    chart.remove_series(key)
        self._has_points = {
            name
            for name, chart in self._charts.items()
            if any(_parts(key)[0] == name for key in chart.series_keys)
        }

    def watch_axis(self, axis: XAxis) -> None:
        for chart in self._charts.values():
            chart.clear()
            chart.reset_view()
        self._label_axis()

    def _label_axis(self) -> None:
        label, kind = AXES[self.axis]
        for chart in self._charts.values():
            chart.x_label, chart.x_kind = label, kind

    def watch_symbols(self, symbols: Symbols) -> None:
        for chart in self._charts.values():
            chart.symbols = symbols

    def take_events(self, events: tuple[PlacedEvent, ...]) -> None:
        """Mark these in all charts."""
        self._events = events
        for chart in self._charts.values():
            self._mark(chart)

    def _mark(self, chart: Chart) -> None:
        from workbench.tui.widgets.chart import Mark

        chart.set_marks(tuple(Mark(event.x, event.label, event.grave) for event in self._events))

    def take(self, points: list[Points]) -> None:
        """Add what was read to the charts on screen."""
        look = {entry.run: entry for entry in self.drawn}
        for new in points:
            entry = look.get(new.run)
            if entry is None:
                continue
            for name in self._visible:
                if name == new.metric or (len(self.drawn) == 1 and COMPANION.get(name) == new.metric):
                    self._add(name, new, entry)
        self._show_words()

    def _add(self, name: str, new: Points, entry: Drawn) -> None:
        chart, key = self._charts[name], f"{new.metric}\0{new.run}"
        if new.predicted:
            self._add_predicted(chart, f"{key}\0{new.predicted}", name, new, entry)
            return
        self._has_points.add(name)
        if not new.fresh and key in chart.series_keys:
            chart.append(key, new.x, new.y)
            return
        alone = len(self.drawn) == 1
        label = new.metric if alone else new.run + (" (base)" if entry.dashed else "")
        colour = entry.colour + (name != new.metric)
        chart.set_series(key, new.x, new.y, label=reveal_control(label), color=colour, dashed=entry.dashed)

    def _add_predicted(self, chart: Chart, key: str, name: str, new: Points, entry: Drawn) -> None:
        """Where a prediction says that a curve will go, dashed, and its interval as a bar at the end."""
        from workbench.tui.train.predicted import INTERVAL

        alone = len(self.drawn) == 1
        is_bar = new.predicted == INTERVAL
        label = new.predicted if alone else f"{new.run} {new.predicted}"
        chart.set_series(
            key,
            new.x,
            new.y,
            label=reveal_control(label),
            color=entry.colour + (name != new.metric) + 2 * alone,
            dashed=not is_bar,
            marks="bars" if is_bar else "line" if len(new.x) > 1 else "points",
        )


def _parts(key: str) -> tuple[str, str]:
    """The metric and the run that a series belongs to."""
    metric, run, *_ = key.split("\0")
    return metric, run


def colour_name(app: App[None], number: int) -> str:
    """The colour that the charts draw a run in, for the table's marks; none where there are none."""
    from workbench.tui.widgets.chart.palette import COLORS, FEW_COLORS

    if app.no_color:
        return ""
    colours = COLORS if app.console.color_system in ("256", "truecolor") else FEW_COLORS
    return colours[number % len(colours)]
