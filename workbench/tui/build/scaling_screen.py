"""Scaling laws: studies, their runs and charts, the law with its intervals, predictions, and the queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.events import Resize
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from workbench.errors import WorkbenchError
from workbench.tui.build.scaling_actions import StudyActions
from workbench.tui.build.scaling_charts import ScalingCharts
from workbench.tui.build.scaling_commands import CHARTS, COMMANDS, PANES
from workbench.tui.build.scaling_lines import emergence_lines, law_lines, outlook_lines, runs_lines
from workbench.tui.build.scaling_reading import Reader, Reading
from workbench.tui.commands import bindings
from workbench.tui.notices import notify_error
from workbench.tui.text import reveal_control
from workbench.tui.widgets.key_bar import KeyBar
from workbench.tui.widgets.pick_list import PickList
from workbench.tui.widgets.prompt import Prompt
from workbench.tui.widgets.tab_strip import TabStrip
from workbench.tui.widgets.text_lines import TextLines, plain

if TYPE_CHECKING:
    from workbench.scaling.figures import Figure

PERIOD = 1.0
WIDE, TALL = 150, 40
EMPTY = "No studies yet. n plans one: sizes and tokens under a budget, trained one after the other."


class ScalingScreen(StudyActions, ModalScreen[None]):
    """The studies above, or at the left; the pane that was asked for below, or charts beside."""

    HELP_TITLE = "Scaling laws"
    DEFAULT_CSS = """
    ScalingScreen { background: $background; }
    ScalingScreen #scaling-title { height: 1; background: $panel; text-style: bold; padding: 0 1; }
    ScalingScreen #scaling-body { layout: vertical; height: 1fr; }
    ScalingScreen #scaling-side { height: auto; width: 1fr; layout: vertical; }
    ScalingScreen PickList { height: auto; max-height: 4; border: none; padding: 0 1; }
    ScalingScreen PickList { background: $background; }
    ScalingScreen PickList:focus { border: none; background: $background; }
    ScalingScreen #scaling-main { height: 1fr; width: 1fr; padding: 0 1; }
    ScalingScreen TextLines { height: 1fr; }
    ScalingScreen ScalingCharts { display: none; }
    ScalingScreen.-chart ScalingCharts { display: block; }
    ScalingScreen.-chart TextLines { display: none; }
    ScalingScreen.-wide #scaling-main { layout: horizontal; }
    ScalingScreen.-wide PickList { max-height: 8; }
    ScalingScreen.-wide TextLines { display: block; width: 84; }
    ScalingScreen.-wide ScalingCharts { display: block; width: 1fr; }
    """
    BINDINGS = bindings(*COMMANDS)

    pane: reactive[str] = reactive("runs", init=False)

    def __init__(self) -> None:
        super().__init__()
        self.reading = Reading()
        self.chosen = ""
        self.predicted: dict[str, Any] | None = None
        self.predicted_arguments: list[str] = []
        self.question = ""
        self._reader = Reader()
        self._busy = False
        self._drawn: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield Static("Scaling laws", id="scaling-title", markup=False)
        yield Prompt("", id="scaling-prompt")
        with Container(id="scaling-body"):
            with Container(id="scaling-side"):
                yield PickList(id="scaling-studies", compact=True)
                yield TabStrip([(pane.id, pane.key, pane.label) for pane in PANES], active=self.pane)
            with Container(id="scaling-main"):
                yield TextLines()
                yield ScalingCharts()
        yield KeyBar()

    @property
    def studies(self) -> PickList:
        return self.query_one("#scaling-studies", PickList)

    @property
    def prompt(self) -> Prompt:
        return self.query_one("#scaling-prompt", Prompt)

    @property
    def symbols(self) -> str:
        return str(getattr(self.app, "symbols", "braille"))

    def on_mount(self) -> None:
        self.studies.focus()
        self.look()
        self.set_interval(PERIOD, self.look)

    def on_resize(self, event: Resize) -> None:
        self.set_class(event.size.width >= WIDE and event.size.height >= TALL, "-wide")
        self._drawn = ()
        self.call_after_refresh(self.draw)

    # Reading, in a thread; nothing is posted where nothing changed.

    def look(self) -> None:
        """Read what stands on the disk now."""
        if self._busy:
            return
        self._busy = True
        chosen = self.chosen

        def work() -> None:
            try:
                found = self._reader.read(chosen)
            except WorkbenchError as error:
                notify_error(self.app, error)
                found = Reading()
            finally:
                self._busy = False
            if self.is_attached and self.app.is_running and found != self.reading:
                self.app.call_from_thread(self._take, found)

        self.run_worker(work, thread=True, group="studies")

    def _take(self, found: Reading) -> None:
        if found.name != self.reading.name:
            self.predicted = None
        before, self.reading, self.chosen = self.reading, found, found.name
        if found.rows != before.rows:
            names = [name for name, _, _ in found.rows]
            with self.prevent(OptionList.OptionHighlighted):
                self.studies.clear_options()
                for name, state, done in found.rows:
                    text = Text(no_wrap=True, overflow="ellipsis")
                    text.append(f"{reveal_control(name):<24}", "bold")
                    text.append(f"  {state:<9} {done}")
                    self.studies.add_option(Option(text))
                self.studies.highlighted = names.index(found.name) if found.name in names else None
        self.draw()
        self.refresh_bindings()

    @on(OptionList.OptionHighlighted)
    def _study_seen(self, message: OptionList.OptionHighlighted) -> None:
        message.stop()
        rows = self.reading.rows
        if message.option_index is not None and message.option_index < len(rows):
            self.chosen = rows[message.option_index][0]
            self.look()

    # Drawing: everything follows from the reading, the pane, and what was predicted.

    def draw(self) -> None:
        """Bring what is on screen in line with what is known."""
        if not self.is_mounted or not self.query(TextLines):
            return
        found = self.reading
        wide = self.has_class("-wide")
        self.set_class(self.pane in CHARTS and found.fit is not None, "-chart")
        self.query_one(TabStrip).active = self.pane
        state = f" · {found.name} · {found.view['state']}" if found.view else ""
        self.query_one("#scaling-title", Static).update(
            reveal_control(f"Scaling laws{state}{' · ' + self.waiting if self.waiting else ''}")
        )
        self.query_one(TextLines).set_lines(self._lines())
        key = (found.name, found.stamp, self.pane, wide, self.symbols)
        if key != self._drawn:
            self._drawn = key
            charts = self.query_one(ScalingCharts)
            charts.symbols = self.symbols  # type: ignore[assignment]
            figures = self._figures(wide)
            charts.show(figures, 2 if len(figures) > 1 else 1)

    def _lines(self) -> list[Any]:
        found = self.reading
        if found.problem:
            return [plain(reveal_control(found.problem), "bad")]
        if found.view is None:
            return [plain(EMPTY)]
        match self.pane:
            case "law":
                return law_lines(found.fit)
            case "sums":
                return emergence_lines(found.emergence)
            case "predict":
                return outlook_lines(self.predicted, found.predicted)
            case "runs":
                return runs_lines(found.view, self.symbols)
        return law_lines(found.fit)

    def _figures(self, wide: bool) -> list[Figure]:
        """What to draw: all of the law where there is room, else what was asked for."""
        from workbench.scaling import figures

        found = self.reading
        if self.pane == "sums" and found.emergence is not None:
            return list(figures.emergence_figures(found.emergence))
        if found.fit is None:
            return []
        makers: dict[str, Callable[[Any], Figure]] = {
            "loss": lambda fit: figures.loss_figure(fit, found.predicted),
            "isoflop": figures.isoflop_figure,
            "residuals": figures.residual_figure,
        }
        if wide:
            return [make(found.fit) for make in makers.values()]
        return [makers[self.pane](found.fit)] if self.pane in makers else []

    def watch_pane(self) -> None:
        self.draw()
        self.refresh_bindings()

    @on(TabStrip.Picked)
    def _picked(self, message: TabStrip.Picked) -> None:
        message.stop()
        self.pane = message.choice

    @on(Input.Submitted, "#scaling-prompt")
    def _answered(self, message: Input.Submitted) -> None:
        message.stop()
        text = message.value.strip()
        self.prompt.put_away()
        self.studies.focus()
        if text:
            self.take_answer(text)

    def action_pane(self, pane: str) -> None:
        self.pane = pane

    def action_turn(self, by: int) -> None:
        if by > 0:
            self.studies.action_cursor_down()
        else:
            self.studies.action_cursor_up()

    def action_into(self) -> None:
        """Into the lines to scroll, or the charts to zoom; and back."""
        from workbench.tui.widgets.chart import Chart

        if self.studies.has_focus:
            charts = [chart for chart in self.query(Chart) if chart.display and self.has_class("-chart")]
            (charts[0] if charts else self.query_one(TextLines)).focus()
        else:
            self.studies.focus()

    def action_back(self) -> None:
        if self.prompt.asked:
            self.prompt.put_away()
            self.studies.focus()
        elif not self.studies.has_focus:
            self.studies.focus()
        else:
            self.dismiss(None)
