"""The Rank tab: the sessions there are, and, in one of them, answers to be ranked by keys."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.reactive import reactive
from textual.widgets import Input, Static

from workbench.errors import WorkbenchError
from workbench.tui.commands import bindings
from workbench.tui.notices import notify_error
from workbench.tui.rank.annotator_name import annotator_name
from workbench.tui.rank.commands import TAB_COMMANDS
from workbench.tui.rank.desk import Desk
from workbench.tui.rank.lines import Lines
from workbench.tui.rank.ranking_view import RankingView
from workbench.tui.rank.scoring_actions import ScoringActions
from workbench.tui.rank.session_rows import SessionReader, SessionRow
from workbench.tui.rank.session_table import SessionTable
from workbench.tui.rank.waiting import no_sessions
from workbench.tui.widgets.prompt import Prompt

READ_SECONDS = 2.0


class RankTab(ScoringActions):
    """The list of sessions, or the ranking screen of one."""

    HELP_TITLE = "Rank"
    DEFAULT_CSS = """
    RankTab { height: 1fr; }
    RankTab SessionTable, RankTab #rank-empty { height: 1fr; }
    RankTab #rank-empty { padding: 1 2; display: none; }
    RankTab.-empty SessionTable { display: none; }
    RankTab.-empty #rank-empty { display: block; }
    RankTab #rank-asked { height: 1; padding: 0 1; color: $text-muted; display: none; }
    RankTab RankingView { display: none; }
    RankTab.-ranking RankingView { display: block; }
    RankTab.-ranking SessionTable, RankTab.-ranking #rank-empty { display: none; }
    """
    BINDINGS = bindings(*TAB_COMMANDS)

    open_session: reactive[str] = reactive("", init=False)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.desk = Desk()
        self.annotator = annotator_name()
        self._reader = SessionReader()
        self._reading = False
        self._trouble = ""
        self._wanted = ""

    def compose(self) -> ComposeResult:
        yield SessionTable()
        yield Lines(id="rank-empty")
        yield RankingView(self.desk)
        yield Static("", id="rank-asked", markup=False)
        yield Prompt("", id="rank-question")

    def on_mount(self) -> None:
        if not self.children:  # the app is being closed, and nothing was composed
            return
        self.query_one("#rank-empty", Lines).set_lines(no_sessions())
        self.read()
        self.set_interval(READ_SECONDS, self._read_again)

    def on_unmount(self) -> None:
        self.close_scoring()
        self.desk.close()

    def on_show(self) -> None:
        # The tab is shown again: the keys go to where they went before.
        self.take_keys()

    @property
    def table(self) -> SessionTable:
        """The sessions."""
        return self.query_one(SessionTable)

    @property
    def ranking(self) -> RankingView:
        """The ranking screen."""
        return self.query_one(RankingView)

    @property
    def session(self) -> str:
        """The session that is ranked, or the one under the cursor; empty where there is none."""
        return self.open_session or self.table.selected

    @property
    def row(self) -> SessionRow | None:
        return self.table.row

    def take_keys(self) -> None:
        """Give the keys to what is on screen."""
        if not self.is_on_screen:
            return
        if self.question.asked:
            self.question.focus()
        elif self.open_session:
            self.ranking.focus()
        elif self.has_class("-empty"):
            self.query_one("#rank-empty").focus()
        else:
            self.table.focus()

    # The sessions, read at the desk.

    def _read_again(self) -> None:
        if self.is_on_screen and not self.open_session and self.app.screen is self.screen:
            self.read()

    @property
    def is_on_screen(self) -> bool:
        """Whether the tab is the one that is shown."""
        return self.is_attached and self.display

    def read(self, select: str = "") -> None:
        """Read the sessions; go to one of a name once it is there."""
        self._wanted = select or self._wanted
        if not self._reading:
            self._reading = True
            self.run_worker(self._read(), group="sessions")

    async def _read(self) -> None:
        try:
            rows = await self.desk.do(self._reader.read)
            self._trouble = ""
        except WorkbenchError as error:
            # Said once, not every two seconds.
            if error.message != self._trouble:
                self._trouble = error.message
                notify_error(self.app, error)
            return
        finally:
            self._reading = False
        if not self.is_attached or not self.query(SessionTable):
            return
        before = (self.table.rows, self.table.selected)
        self.table.annotator = self.annotator
        self.table.show(rows)
        if self._wanted in {row.name for row in rows}:
            self.table.selected, self._wanted = self._wanted, ""
        empty = not rows
        if empty != self.has_class("-empty"):
            self.set_class(empty, "-empty")
            self.call_after_refresh(self.take_keys)
        # An idle screen sends nothing, and either of these would.
        if self.is_on_screen and not self.open_session and not self._has_keys:
            self.take_keys()
        if before != (self.table.rows, self.table.selected):
            self.refresh_bindings()

    @property
    def _has_keys(self) -> bool:
        focused = self.app.focused
        return focused is not None and self in focused.ancestors

    @on(SessionTable.Moved)
    def _moved(self, message: SessionTable.Moved) -> None:
        message.stop()
        self.refresh_bindings()

    @on(SessionTable.Opened)
    def _opened(self, message: SessionTable.Opened) -> None:
        message.stop()
        self.action_open()

    # Into a session and out of it.

    def watch_open_session(self) -> None:
        self.end_scoring()
        self.set_class(bool(self.open_session), "-ranking")
        if self.open_session:
            self.ranking.begin(self.open_session, self.annotator)
        else:
            self.ranking.pause()
            self.read(self.table.selected)
        self.take_keys()
        self.refresh_bindings()

    @on(RankingView.Left)
    def _left(self, message: RankingView.Left) -> None:
        message.stop()
        self.open_session = ""

    @on(RankingView.NoteWanted)
    def _note_wanted(self, message: RankingView.NoteWanted) -> None:
        message.stop()
        self.ask("A note about these answers; enter keeps it, esc does not:", self.ranking.do_note)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if isinstance(self.app.focused, Input):
            return action in ("cancel", "complete")
        if action in ("cancel", "complete"):
            return False
        if action in ("new", "import"):
            return not self.open_session
        if action in ("open", "delete"):
            return not self.open_session and self.row is not None
        if action == "generate":
            return self.can_generate
        if action == "score":
            return bool(self.open_session)
        return action == "annotator" or bool(self.session)

    def action_open(self) -> None:
        if self.table.selected:
            self.open_session = self.table.selected
