"""The Train tab: the runs, their charts, and one pane about the run under the cursor.

What is on screen follows from a few reactives; they flow down to the parts, and what the parts have
to say comes up as messages. Reading the disk is the poller's business, in its own thread.
"""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.events import DescendantBlur, DescendantFocus, Resize
from textual.widgets import Input

from workbench.tui.commands import bindings
from workbench.tui.notices import notify_error
from workbench.tui.settings import Symbols
from workbench.tui.train.axes import XAxis
from workbench.tui.train.chart_grid import ChartGrid
from workbench.tui.train.commands import CHART_COMMANDS, PANE_COMMANDS, RUN_COMMANDS
from workbench.tui.train.default_charts import metrics_for
from workbench.tui.train.empty import words_for
from workbench.tui.train.marks import MarksRead
from workbench.tui.train.panes import PANES
from workbench.tui.train.polling import PaneRead, PointsRead, Poller, RunsRead, Trouble, Watch
from workbench.tui.train.rows import Row, arrange
from workbench.tui.train.run_table import RunTable
from workbench.tui.train.view_actions import ViewActions
from workbench.tui.widgets.prompt import Prompt
from workbench.tui.widgets.tab_strip import TabStrip
from workbench.tui.widgets.text_lines import TextLines

TALL, WIDE = 34, 150
SETTLE_SECONDS = 0.08


class TrainTab(ViewActions):
    """Everything about training runs."""

    HELP_TITLE = "Train"
    DEFAULT_CSS = """
    TrainTab { height: 1fr; }
    TrainTab #upper { height: 1fr; }
    TrainTab #runs { height: 8; }
    TrainTab #pane { height: 1fr; display: none; }
    TrainTab #tall-strip { display: none; }

    TrainTab.-pane #upper { height: auto; }
    TrainTab.-pane #pane { display: block; }
    TrainTab.-pane ChartGrid { display: none; }

    TrainTab.-tall #upper { height: 1fr; }
    TrainTab.-tall ChartGrid { display: block; }
    TrainTab.-tall #short-strip { display: none; }
    TrainTab.-tall #tall-strip { display: block; }
    TrainTab.-tall #pane { display: block; height: 28%; min-height: 10; }

    TrainTab.-wide #upper { layout: horizontal; }
    TrainTab.-wide #runs { width: 46%; height: 1fr; }

    TrainTab.-large #runs, TrainTab.-large TabStrip { display: none; }
    TrainTab.-large-chart #pane { display: none; }
    TrainTab.-large-pane #upper { display: none; }
    TrainTab.-large-pane #pane { height: 1fr; }
    """
    BINDINGS = bindings(*RUN_COMMANDS, *CHART_COMMANDS, *PANE_COMMANDS)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._poller = Poller(self.post_message)
        self._watch = Watch()
        self._points_read = -1
        self._wanted_run = ""
        self._working = ""
        self._looks: tuple[object, ...] = ()
        self._read_once = False

    def compose(self) -> ComposeResult:
        panes = [(pane.id, pane.key, pane.label) for pane in PANES]
        with Container(id="upper"):
            with Container(id="runs"):
                yield Prompt("words of name, state or model", id="filter")
                yield RunTable()
            yield TabStrip([("charts", "c", "charts"), *panes], active="charts", id="short-strip")
            yield ChartGrid()
        yield TabStrip(panes, active=self.pane, id="tall-strip")
        yield Container(id="pane")

    def on_mount(self) -> None:
        self._wanted_run = getattr(self.app, "initial_run", None) or ""
        self.watch(self.app, "symbols", self._symbols_changed)
        self.run_worker(self._poller.run, thread=True, group="polling")

    def on_unmount(self) -> None:
        self._poller.end()
        self.exports.end()

    @property
    def row(self) -> Row | None:
        """The run under the cursor."""
        return next((row for row in self.rows if row.name == self.selected), None)

    @property
    def whole(self) -> bool:
        """Whether all parts are there: not before mounting, and not while the app goes down."""
        return self.is_attached and bool(self.query("#pane"))

    def changed_on_disk(self, select: str = "") -> None:
        self._wanted_run = select or self._wanted_run
        self._poller.poke()

    def on_resize(self, event: Resize) -> None:
        self.set_class(event.size.height >= TALL, "-tall")
        self.set_class(event.size.height >= TALL and event.size.width >= WIDE, "-wide")
        self.size_table()
        self._show_pane()

    def size_table(self) -> None:
        runs = self.query_one("#runs")
        if self.has_class("-wide"):
            runs.styles.height = None
            return
        share = 0.28 if self.has_class("-tall") else 0.33
        room = max(4, int(self.size.height * share))
        lines = len(self.shown) + 1 + self.prompt.asked
        runs.styles.height = min(max(lines, 2), room)

    # The poller's news.

    @on(RunsRead)
    def _take_rows(self, message: RunsRead) -> None:
        message.stop()
        first, self._read_once = not self._read_once, True
        self.rows = message.rows
        if first and not message.rows:
            self.place_rows()
        if first:
            self.call_after_refresh(setattr, self.grid, "ready", True)

    @on(PointsRead)
    def _take_points(self, message: PointsRead) -> None:
        message.stop()
        if self.whole and message.serial == self._watch.serial:
            self.known_metrics = tuple(dict.fromkeys([*self.known_metrics, *message.names]))
            self.grid.take(message.points)
            if self._points_read != message.serial:
                self._points_read = message.serial
                self._note_words()
            self.refresh_keys()

    @on(MarksRead)
    def _take_marks(self, message: MarksRead) -> None:
        message.stop()
        if self.whole and message.serial == self._watch.serial:
            self.grid.take_events(message.events)

    @on(PaneRead)
    def _take_pane(self, message: PaneRead) -> None:
        message.stop()
        if self.whole and message.about == self._watch.about:
            self.pane_lines(self.pane).set_lines(message.lines)

    @on(Trouble)
    def _take_trouble(self, message: Trouble) -> None:
        message.stop()
        notify_error(self.app, message.error)

    # What is on screen follows from the state.

    def watch_rows(self) -> None:
        names = {row.name for row in self.rows}
        self.overlay = tuple(name for name in self.overlay if name in names)
        self.baseline = self.baseline if self.baseline in names else ""
        self.place_rows()

    def place_rows(self) -> None:
        """Put the rows through filter and order, and keep the cursor on a run that is shown."""
        if not self.whole:
            return
        before = self.table.cursor
        self.shown = arrange(self.rows, self.filter_text, self.order, self.reverse)
        names = [row.name for row in self.shown]
        if self._wanted_run in names:
            self.selected, self._wanted_run = self._wanted_run, ""
        elif self.selected not in names:
            self.selected = names[min(max(before, 0), len(names) - 1)] if names else ""
        self.size_table()
        self.redraw()

    def watch_selected(self, selected: str) -> None:
        if not self.whole:
            return
        self.table.selected = selected
        self.refresh_keys()
        # Going quickly down the table must not open every run on the way.
        if self._read_once:
            self.set_timer(SETTLE_SECONDS, self.redraw)

    def redraw(self) -> None:
        """Bring table marks, charts, words and the poller in line with the state."""
        if not self.whole:
            return
        drawn = self.drawn_runs()
        names = {entry.run for entry in drawn}
        objectives = dict.fromkeys(row.status.objective for row in self.rows if row.name in names)
        self.grid.metrics = self.chosen_metrics or metrics_for(objectives)
        self.grid.drawn = drawn
        self.table.show(self.shown, self.marks(drawn))
        self._note_counts()
        self._aim()
        self._note_words()
        self.refresh_keys()

    def _note_words(self) -> None:
        if self._read_once:
            were_read = self._points_read == self._watch.serial
            self.grid.words = words_for(self.row, bool(self.rows), self.symbols, were_read=were_read)

    def _note_counts(self) -> None:
        running = sum(row.active for row in self.rows)
        filtered = f"{len(self.shown)} of " if self.filter_text else ""
        count = f"{len(self.rows)} run{'' if len(self.rows) == 1 else 's'}"
        note = f"{filtered}{count}, {running} running" if self.rows else ""
        for strip in self.app.screen_stack[0].query("#tabs").results(TabStrip):
            strip.note = note

    def _aim(self) -> None:
        """Tell the poller what is on screen now."""
        if not self.whole:
            return
        charts = self.grid.display and self.large != "pane"
        pane = self.pane if self.pane_visible else ""
        old = self._watch
        drawn = tuple(entry.run for entry in self.grid.drawn) if charts else ()
        metrics = self.grid.wanted if charts else ()
        looks = (self.grid.drawn, drawn, metrics, self.axis)
        serial = old.serial + (looks != self._looks)
        self._looks = looks
        new = Watch(serial, drawn, metrics, self.axis, pane, self.selected, self.baseline, self.symbols)
        if new != old:
            self._watch = new
            self._poller.watch(new)

    @on(ChartGrid.Changed)
    def _charts_changed(self) -> None:
        self._aim()
        self.refresh_keys()

    def _symbols_changed(self, symbols: Symbols) -> None:
        self.symbols = symbols
        if not self.children:
            # An app that ends as soon as it has begun has taken away what it made.
            return
        self.table.symbols = self.grid.symbols = symbols
        self.redraw()

    @on(DescendantFocus)
    @on(DescendantBlur)
    def _focus_moved(self) -> None:
        self.call_later(self.refresh_keys)

    def refresh_keys(self) -> None:
        """Have the footer show what works now, when that may have changed."""
        if not self.whole:
            return
        row = self.row
        working = repr((row and row.state, self.app.focused, self.grid.on_screen, self.can_go_back))
        if working != self._working:
            self._working = working
            self.refresh_bindings()

    # What the parts say.

    @on(RunTable.Selected)
    def _run_selected(self, message: RunTable.Selected) -> None:
        self.selected = message.name

    @on(RunTable.HeadClicked)
    def _head_clicked(self, message: RunTable.HeadClicked) -> None:
        self.sort_by(message.order)

    @on(RunTable.Opened)
    def _run_opened(self) -> None:
        self.action_open()

    @on(TabStrip.Picked)
    def _strip_picked(self, message: TabStrip.Picked) -> None:
        message.stop()
        if message.choice == "charts":
            self.action_charts()
        else:
            self.action_pane(message.choice)

    @on(Input.Changed, "#filter")
    def _filter_changed(self, message: Input.Changed) -> None:
        self.filter_text = message.value

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self.table.focus()
        if not self.filter_text:
            self.prompt.put_away()

    def watch_filter_text(self) -> None:
        self.place_rows()

    watch_order = watch_reverse = watch_filter_text

    def watch_overlay(self) -> None:
        self.redraw()

    watch_baseline = watch_chosen_metrics = watch_overlay

    def watch_axis(self, axis: XAxis) -> None:
        self.grid.axis = axis
        self.redraw()

    def watch_pane(self) -> None:
        self._show_pane()

    watch_pane_open = watch_large = watch_pane

    def _show_pane(self) -> None:
        """Open the pane that was asked for, where there is room for it."""
        if not self.whole:
            return
        self.set_class(self.pane_open and not self.has_class("-tall"), "-pane")
        self.set_class(bool(self.large), "-large")
        self.set_class(self.large == "chart", "-large-chart")
        self.set_class(self.large == "pane", "-large-pane")
        self.query_one("#tall-strip", TabStrip).active = self.pane
        self.query_one("#short-strip", TabStrip).active = self.pane if self.pane_open else "charts"
        if self.pane_visible:
            shown = self.pane_lines(self.pane)
            for lines in self.query_one("#pane").children:
                lines.display = lines is shown
        self.call_after_refresh(self._aim)
        self.refresh_keys()

    def pane_lines(self, pane: str) -> TextLines:
        """The widget of a pane, made when it is first opened."""
        host = self.query_one("#pane")
        for lines in host.query(TextLines):
            if lines.id == f"pane-{pane}":
                return lines
        follow = next(entry.follow for entry in PANES if entry.id == pane)
        made = TextLines(follow=follow, id=f"pane-{pane}")
        host.mount(made)
        return made
