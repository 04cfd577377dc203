"""What the Train tab's keys change on screen: pane, charts, marks, order. Nothing here touches a run."""

from __future__ import annotations

from textual.reactive import reactive

from workbench.tui.train.actions import RunActions
from workbench.tui.train.axes import AXES, XAxis
from workbench.tui.train.chart_grid import ChartGrid, Drawn, colour_name
from workbench.tui.train.rows import ORDERS, Row
from workbench.tui.train.run_table import RunTable
from workbench.tui.widgets.prompt import Prompt
from workbench.tui.widgets.text_lines import TextLines

MARKS = {"braille": ("●", "◌"), "block": ("●", "◌"), "ascii": ("*", "%")}
"""The mark of a run that is drawn, and of the baseline."""


class ViewActions(RunActions):
    """The state that says what is on screen, and the actions that change it."""

    rows: reactive[tuple[Row, ...]] = reactive(())
    selected: reactive[str] = reactive("")
    overlay: reactive[tuple[str, ...]] = reactive(())
    baseline: reactive[str] = reactive("")
    filter_text: reactive[str] = reactive("")
    order: reactive[str] = reactive("created")
    reverse: reactive[bool] = reactive(False)
    axis: reactive[XAxis] = reactive[XAxis]("step")
    pane: reactive[str] = reactive("info")
    pane_open: reactive[bool] = reactive(False)
    large: reactive[str] = reactive("")
    chosen_metrics: reactive[tuple[str, ...]] = reactive(())
    """The charts that were chosen; none: those that the runs are watched by."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.shown: list[Row] = []
        self.symbols = "braille"
        self.known_metrics: tuple[str, ...] = ()
        self._colours: dict[str, int] = {}

    @property
    def table(self) -> RunTable:
        return self.query_one(RunTable)

    @property
    def grid(self) -> ChartGrid:
        return self.query_one(ChartGrid)

    @property
    def prompt(self) -> Prompt:
        """Where the filter is typed."""
        return self.query_one(Prompt)

    def size_table(self) -> None:
        """Give the table the height that its lines need, within limits."""
        raise NotImplementedError

    @property
    def pane_visible(self) -> bool:
        """Whether a pane is on screen: always where there is room, else when it was opened."""
        return (self.has_class("-tall") or self.pane_open) and self.large != "chart"

    def drawn_runs(self) -> tuple[Drawn, ...]:
        """The runs in the charts: those marked, the one under the cursor, and the baseline."""
        names = [*self.overlay, self.selected, self.baseline]
        wanted = [name for name in dict.fromkeys(names) if name]
        # A run keeps its colour for as long as it is drawn; every other one is free for the next.
        self._colours = {name: number for name, number in self._colours.items() if name in wanted}
        for name in wanted:
            taken = set(self._colours.values())
            free = next(number for number in range(len(taken) + 1) if number not in taken)
            self._colours.setdefault(name, free)
        return tuple(Drawn(name, self._colours[name], name == self.baseline) for name in wanted)

    def marks(self, drawn: tuple[Drawn, ...]) -> dict[str, tuple[str, str]]:
        """The (symbol, colour) of each drawn run; a lone run under the cursor needs none."""
        if len(drawn) < 2 and not self.overlay and not self.baseline:
            return {}
        line, dashed = MARKS[self.symbols]
        return {
            entry.run: (dashed if entry.dashed else line, colour_name(self.app, entry.colour))
            for entry in drawn
        }

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        row = self.row
        charts = self.grid.display and bool(self.grid.charts) and self.large != "pane"
        match action:
            case "stop":
                return row is not None and row.active
            case "resume":
                return row is not None and row.resumable
            case "export":
                return row is not None and row.state == "finished"
            case "ask_both" | "rank_both":
                return row is not None and row.state == "finished"
            case "delete" | "overlay" | "baseline" | "edit" | "open" | "context_curves":
                return row is not None
            case "filter" | "sort" | "reverse":
                return bool(self.rows) and not self.large
            case "clear":
                return bool(self.overlay)
            case "log_axis" | "smoothing" | "x_axis" | "metrics":
                return charts and row is not None
            case "page":
                more = len(self.grid.on_screen) < len(self.grid.metrics)
                return charts and row is not None and more
            case "back":
                return self.can_go_back
        return True

    @property
    def can_go_back(self) -> bool:
        """Whether esc has anything to undo."""
        return bool(self.large or self.pane_open or self.filter_text) or not self.table.has_focus

    def action_back(self) -> None:
        """Undo one step of going in: large, focus, pane, filter."""
        if self.large:
            self.large = self.grid.maximised = ""
        elif self.prompt.asked and (self.filter_text or not self.table.has_focus):
            self.prompt.put_away()
            self.filter_text = ""
            self.size_table()
            self.table.focus()
        elif not self.table.has_focus:
            self.table.focus()
        elif self.pane_open:
            self.pane_open = False

    def action_open(self) -> None:
        """From the table into the charts or the pane; there, make it large or small again."""
        focused = self.app.focused
        if self.large:
            self.action_back()
        elif isinstance(focused, TextLines):
            self.large = "pane"
        elif focused in self.grid.charts:
            index = [chart is focused for chart in self.grid.charts].index(True)
            self.grid.maximised = self.grid.on_screen[index]
            self.large = "chart"
            self.grid.charts[0].focus()
        elif self.pane_open and not self.has_class("-tall"):
            self.focus_pane()
        elif self.grid.charts:
            self.grid.charts[0].focus()

    def focus_pane(self) -> None:
        """Give the keys to the open pane, to scroll it."""
        for lines in self.query_one("#pane").query(TextLines):
            if lines.display:
                lines.focus()

    def action_pane(self, pane: str) -> None:
        if self.large == "chart":
            self.large = self.grid.maximised = ""
        if self.pane == pane and self.pane_visible:
            # A second press goes in, to scroll; a third comes back out.
            if isinstance(self.app.focused, TextLines):
                self.table.focus()
            else:
                self.focus_pane()
            return
        in_pane = isinstance(self.app.focused, TextLines)
        self.pane, self.pane_open = pane, True
        if in_pane:
            self.call_after_refresh(self.focus_pane)

    def action_charts(self) -> None:
        """Close the pane that stands in the charts' place."""
        if isinstance(self.app.focused, TextLines):
            self.table.focus()
        self.large, self.pane_open = "", False

    def action_overlay(self) -> None:
        name = self.selected
        if name in self.overlay:
            self.overlay = tuple(other for other in self.overlay if other != name)
        else:
            self.overlay = (*self.overlay, name)

    def action_clear(self) -> None:
        self.overlay = ()

    def action_baseline(self) -> None:
        self.baseline = "" if self.baseline == self.selected else self.selected

    def action_sort(self) -> None:
        orders = list(ORDERS)
        self.reverse = False
        self.order = orders[(orders.index(self.order) + 1) % len(orders)]
        self._show_order()

    def action_reverse(self) -> None:
        self.reverse = not self.reverse
        self._show_order()

    def sort_by(self, order: str) -> None:
        """Sort by a column, or the other way round when it is sorted by already."""
        if self.order == order:
            self.reverse = not self.reverse
        else:
            self.order, self.reverse = order, False
        self._show_order()

    def _show_order(self) -> None:
        self.table.order, self.table.reverse = self.order, self.reverse

    def action_filter(self) -> None:
        self.prompt.ask(self.filter_text)
        self.size_table()

    def action_log_axis(self) -> None:
        charts = self.grid.charts
        wanted = not charts[0].log_y
        for chart in charts:
            chart.log_y = wanted

    def action_smoothing(self) -> None:
        charts = self.grid.charts
        charts[0].action_smoothing()
        for chart in charts[1:]:
            chart.smoothing = charts[0].smoothing

    def action_x_axis(self) -> None:
        axes = list(AXES)
        self.axis = axes[(axes.index(self.axis) + 1) % len(axes)]

    def action_page(self, by: int) -> None:
        self.grid.page(by)

    def action_context_curves(self) -> None:
        from workbench.tui.train.long_context_screen import LongContextScreen

        named = {row.name: row.run for row in self.rows}
        if self.row is not None:
            self.app.push_screen(LongContextScreen(self.row.run, named.get(self.baseline)))

    def action_metrics(self) -> None:
        from workbench.tui.train.choose_metrics import ChooseMetrics

        known = tuple(dict.fromkeys([*self.grid.metrics, *self.known_metrics]))

        def chosen(metrics: tuple[str, ...] | None) -> None:
            if metrics is not None:
                self.grid.first = 0
                self.chosen_metrics = metrics

        self.app.push_screen(ChooseMetrics(known, self.grid.metrics), chosen)
