"""What the rankings of a session amount to, reckoned in a thread: agreement and bias, or the leaderboard."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench.errors import WorkbenchError
from workbench.tui.commands import Command, bindings
from workbench.tui.text import reveal_control
from workbench.tui.widgets.key_bar import KeyBar
from workbench.tui.widgets.tab_strip import TabStrip
from workbench.tui.widgets.text_lines import Line, TextLines, plain

PANES = (("agreement", "i", "agreement, bias, speed"), ("leaderboard", "v", "leaderboard"))


class FiguresScreen(ModalScreen[None]):
    """Names of models stay hidden until they are asked for: who ranks on should not know them."""

    HELP_TITLE = "Statistics"
    DEFAULT_CSS = """
    FiguresScreen { background: $background; }
    FiguresScreen #figures-title { height: 1; background: $panel; text-style: bold; padding: 0 1; }
    FiguresScreen TextLines { height: 1fr; padding: 0 1; }
    """
    BINDINGS = bindings(
        Command("figures.agreement", "i", "pane('agreement')", "agreement", "Agreement, bias and speed."),
        Command("figures.leaderboard", "v", "pane('leaderboard')", "leaderboard", "The models by strength."),
        Command("figures.names", "m", "names", "names", "Show which model is which, or hide it."),
        Command("figures.reckon", "r", "reckon", "again", "Reckon again with what was ranked since."),
        Command("figures.back", "escape,q", "back", "back", "Back to where one was."),
        Command("figures.help", "question_mark,f1", "app.help", "help", "Show every key.", footer=False),
    )

    pane: reactive[str] = reactive("agreement", init=False)
    names: reactive[bool] = reactive(False, init=False)

    def __init__(self, session: str, pane: str) -> None:
        super().__init__()
        self.session = session
        self._lines: dict[str, list[Line]] = {}
        self.set_reactive(FiguresScreen.pane, pane)

    def compose(self) -> ComposeResult:
        yield Static(reveal_control(self.session), id="figures-title", markup=False)
        yield TabStrip(list(PANES), active=self.pane)
        yield TextLines()
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one(TextLines).focus()
        self.action_reckon()

    def action_reckon(self) -> None:
        """Read and reckon, with a connection of its own: whoever ranks meanwhile does not wait for it."""
        self._lines = {pane: [plain("reckoning …", "dim")] for pane, _, _ in PANES}
        self._draw()
        symbols, width = getattr(self.app, "symbols", "braille"), self.app.size.width - 4

        def work() -> None:
            from workbench.store.preferences.database import Database
            from workbench.tui.rank.figures import agreement_lines, leaderboard_lines, masks, reckon

            try:
                with Database() as database:
                    figures = reckon(database, self.session)
            except WorkbenchError as error:
                told = [plain(reveal_control(part), "bad") for part in error.render().split("\n")]
                found = {pane: told for pane, _, _ in PANES} | {"names": told}
            else:
                found = {
                    "agreement": agreement_lines(figures),
                    "leaderboard": leaderboard_lines(figures, masks(figures), symbols, width),
                    "names": leaderboard_lines(figures, {}, symbols, width),
                }
            if self.is_attached:
                self.app.call_from_thread(self._take, found)

        self.run_worker(work, thread=True, group="figures", exclusive=True)

    def _take(self, lines: dict[str, list[Line]]) -> None:
        self._lines = lines
        self._draw()

    def _draw(self) -> None:
        shown = "names" if self.names and self.pane == "leaderboard" else self.pane
        self.query_one(TextLines).set_lines(self._lines.get(shown, []))
        self.query_one(TabStrip).active = self.pane
        hidden = "" if self.names or self.pane != "leaderboard" else " · m shows the names of the models"
        self.query_one("#figures-title", Static).update(reveal_control(self.session) + hidden)

    def watch_pane(self) -> None:
        self._draw()
        self.refresh_bindings()

    watch_names = watch_pane

    @on(TabStrip.Picked)
    def _picked(self, message: TabStrip.Picked) -> None:
        message.stop()
        self.pane = message.choice

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "names" or self.pane == "leaderboard"

    def action_pane(self, pane: str) -> None:
        self.pane = pane

    def action_names(self) -> None:
        self.names = not self.names

    def action_back(self) -> None:
        self.dismiss(None)
