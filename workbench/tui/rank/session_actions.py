"""What the Rank tab does to sessions: make, import, export, delete, train on, look at the figures of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from workbench.errors import WorkbenchError
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import find_session
from workbench.tui.notices import notify, notify_error
from workbench.tui.rank.choice_screen import ChoiceScreen
from workbench.tui.rank.desk import Desk
from workbench.tui.rank.handing_over import (
    FORMATS,
    PRESETS,
    check_preset,
    export_session,
    training_file,
)
from workbench.tui.rank.questions import Questions
from workbench.tui.rank.ranking_view import RankingView
from workbench.tui.rank.session_rows import SessionRow
from workbench.tui.text import reveal_control
from workbench.tui.widgets.confirm import Confirm

if TYPE_CHECKING:
    from workbench.store.preferences.exchange.exporting import Format

R = TypeVar("R")


class SessionActions(Questions):
    """The part of the tab that changes something."""

    desk: Desk
    annotator: str
    open_session: object

    @property
    def session(self) -> str:
        """The session that is meant."""
        raise NotImplementedError

    @property
    def row(self) -> SessionRow | None:
        """The one under the cursor."""
        raise NotImplementedError

    @property
    def ranking(self) -> RankingView:
        """The ranking screen."""
        raise NotImplementedError

    def read(self, select: str = "") -> None:
        """Read the sessions again."""
        raise NotImplementedError

    def _at_desk(self, work: Callable[[Database], R], then: Callable[[R], None]) -> None:
        """Have work done at the desk, then something with its result; errors are shown."""

        async def run() -> None:
            try:
                result = await self.desk.do(work)
            except WorkbenchError as error:
                notify_error(self.app, error)
                return
            if self.is_attached:
                then(result)

        self.run_worker(run(), group="sessions-actions")

    # What the keys do.

    def action_new(self) -> None:
        """The form for a session of prompts and models."""
        from workbench.tui.rank.new_session import NewSessionScreen

        def made(name: str | None) -> None:
            if name:
                notify(self.app, f"{reveal_control(name)}: answers are generated while you rank")
                self.read(name)

        self.app.push_screen(NewSessionScreen(), made)

    def action_import(self) -> None:
        self.ask(
            "A JSONL file of rankings, pairs, answers, Argilla's or Arena's (tab completes):",
            self._import,
            path=True,
        )

    def _import(self, text: str) -> None:
        path = Path(text).expanduser().absolute()
        # Not at the desk: a large file takes a while, and reading it would hold up who ranks.
        self._in_thread(lambda: _imported(path), self.read)

    def _in_thread(self, work: Callable[[], tuple[str, str]], then: Callable[[str], None]) -> None:
        """Do work with a connection of its own: it says what was done, and to which session."""

        def run() -> None:
            try:
                words, session = work()
            except WorkbenchError as error:
                notify_error(self.app, error)
                return
            notify(self.app, words)
            self.app.call_from_thread(then, session)

        self.run_worker(run, thread=True, group="sessions-actions")

    def action_export(self) -> None:
        name = self.session

        def chosen(format: str | None) -> None:
            if format is not None:
                path = Path.cwd() / f"{name}-{format}.jsonl"
                then = partial(self._export, name, cast("Format", format))
                self.ask(f"Write {format} of {name} to (tab completes):", then, str(path), path=True)

        self.app.push_screen(ChoiceScreen(f"Export {name} as", FORMATS), chosen)

    def _export(self, name: str, format: Format, text: str) -> None:
        path = Path(text).expanduser().absolute()

        def work() -> tuple[str, str]:
            with Database() as database:
                return reveal_control(export_session(database, name, format, path)), name

        def write() -> None:
            self._in_thread(work, lambda session: None)

        if not path.exists():
            write()
            return
        question = Confirm("Write over it?", reveal_control(str(path)), "write over it")
        self.app.push_screen(question, lambda answer: write() if answer else None)

    def action_delete(self) -> None:
        row = self.row
        if row is None:
            return
        ranked = sum(row.ranked.values())
        detail = f"{row.prompts:,} prompts, {row.answers:,} answers and {ranked:,} rankings by " + (
            row.people or "nobody"
        )

        def work() -> tuple[str, str]:
            from workbench.prompting.ranking.delete import delete

            # Not at the desk: it waits for the generator to end.
            with Database() as database:
                delete(database, find_session(database, row.name))
            return f"Deleted {reveal_control(row.name)}", ""

        question = Confirm(
            f"Delete {reveal_control(row.name)}? There is no way back.", reveal_control(detail), "delete it"
        )
        self.app.push_screen(question, lambda answer: self._in_thread(work, self.read) if answer else None)

    @property
    def can_generate(self) -> bool:
        """Whether answers of the session are missing."""
        ranker = self.ranking.ranker
        if self.open_session:
            return bool(ranker and ranker.standing and ranker.standing.coming)
        row = self.row
        return row is not None and row.state not in ("from a file", "complete", "no prompts")

    def action_generate(self) -> None:
        """Start what makes missing answers, or stop it."""
        ranker = self.ranking.ranker
        if self.open_session and ranker is not None and not (ranker.standing and ranker.standing.generating):
            self.ranking.do("generate")
            return
        name = self.session

        def work(database: Database) -> str:
            from workbench.prompting.ranking.control import (
                ensure_generating,
                generation_status,
                stop_generating,
            )

            session = find_session(database, name)
            if generation_status(session).is_active:
                stop_generating(session)
                return f"{name}: stops; g goes on with it"
            return f"{name}: {ensure_generating(session, again=True).state}"

        def done(words: str) -> None:
            notify(self.app, reveal_control(words))
            self.read()

        self._at_desk(work, done)

    def action_figures(self, pane: str) -> None:
        from workbench.tui.rank.figures_screen import FiguresScreen

        self.app.push_screen(FiguresScreen(self.session, pane))

    def action_annotator(self) -> None:
        self.ask(
            "The name under which you rank (enter alone keeps it):", self._rename, placeholder=self.annotator
        )

    def _rename(self, name: str) -> None:
        from workbench.store.preferences.annotator import LONGEST_NAME

        if len(name) > LONGEST_NAME or not name.isprintable():
            notify(self.app, f"a name has at most {LONGEST_NAME} characters, all of them printable")
            return
        self.annotator = name
        self.run_worker(lambda: self._save_name(name), thread=True, group="settings")
        if isinstance(self.open_session, str) and self.open_session:
            # Its first line has the name.
            self.ranking.begin(self.open_session, name)
        else:
            self.read()
            notify(self.app, f"You rank as {reveal_control(name)}")

    def _save_name(self, name: str) -> None:
        from workbench.tui.settings import save_settings

        try:
            save_settings(annotator=name)
        except WorkbenchError as error:
            notify_error(self.app, error)

    # Training on what was ranked.

    def action_train(self) -> None:
        name = self.session

        def chosen(preset: str | None) -> None:
            if preset is not None:
                self._at_desk(lambda database: _for_training(database, name, preset), self._open_form(preset))

        self.app.push_screen(ChoiceScreen(f"Train on {name}", PRESETS), chosen)

    def _open_form(self, preset: str) -> Callable[[Path], None]:
        def open_form(path: Path) -> None:
            from workbench.tui.train.new_run import NewRunScreen

            changes = {"data.sources": [{"path": str(path)}]}
            self.app.push_screen(NewRunScreen(preset, changes=changes), self._started)

        return open_form

    def _started(self, name: str | None) -> None:
        from workbench.tui.train.showing import show_run

        show_run(self.app, name)


def _imported(path: Path) -> tuple[str, str]:
    from workbench.store.preferences.exchange.importing import import_file

    with Database() as database:
        found = import_file(database, path)
    words = f"{found.records:,} records: {found.decisions:,} decisions, {found.items:,} sets of answers"
    return f"{words} added to {reveal_control(found.session.name)}", found.session.name


def _for_training(database: Database, name: str, preset: str) -> Path:
    path = training_file(database, name)
    check_preset(preset, path)
    return path
