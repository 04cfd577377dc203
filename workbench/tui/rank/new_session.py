"""Beginning a session: prompts, models and how they answer, checked as they are typed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import on
from textual.app import ComposeResult
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench.errors import WorkbenchError
from workbench.tui.commands import Command, bindings
from workbench.tui.form.editor import FormEditor
from workbench.tui.notices import notify, notify_error
from workbench.tui.playground.backstage import Backstage
from workbench.tui.rank.completing_paths import complete
from workbench.tui.text import reveal_control
from workbench.tui.widgets.key_bar import KeyBar
from workbench.tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from workbench.tui.playground.catalog import Listed
    from workbench.tui.rank.new_session_draft import NewSessionDraft

COMMANDS = (
    Command("form.start", "ctrl+j,f5", "start", "begin", "Make the session, and have models answer."),
    Command("form.back", "escape", "back", "back", "Go back a step."),
    Command("form.help", "question_mark,f1", "app.help", "help", "Show every key.", footer=False),
    Command("form.complete", "tab", "complete", "complete", "Complete the path.", priority=True),
)
PROMPTS = "session.prompts"
SETTLE_SECONDS = 0.25
PREVIEW = 20_000
"""Prompts that are read to see whether the file is right; all of them are when the session is made."""


@dataclass(frozen=True)
class _Seen:
    """What was found in a file of prompts, read in a certain way."""

    reading: tuple[Path | None, dict[str, Any]]
    words: str = ""
    problem: str = ""
    count: int = 0


class NewSessionScreen(ModalScreen[str | None]):
    """The form; dismisses with the name of the session that was made, or None.

    Its answers are being generated when it does.
    """

    HELP_TITLE = "New session"
    DEFAULT_CSS = """
    NewSessionScreen { background: $background; }
    NewSessionScreen #form-title { height: 1; background: $panel; text-style: bold; padding: 0 1; }
    NewSessionScreen #session-note { height: auto; max-height: 3; padding: 0 1; color: $text-muted; }
    """
    BINDINGS = bindings(*COMMANDS)

    def __init__(self, backstage: Backstage | None = None) -> None:
        """`backstage` finds the models; one is made, and closed, where none is given."""
        super().__init__()
        self._own = backstage is None
        self._backstage = backstage or Backstage()
        self._listing: Future[None] | None = None
        self._draft: NewSessionDraft | None = None
        self._seen = _Seen((None, {}))
        self._wanted: tuple[Path | None, dict[str, Any]] = (None, {})
        self._making = False

    def compose(self) -> ComposeResult:
        yield Static("New session", id="form-title", markup=False)
        yield FormEditor(
            lambda draft: self._draft.fields() if self._draft else (),
            lambda field: self._draft.heading(field) if self._draft else "",
        )
        yield Static(id="session-note", markup=False)
        yield KeyBar()

    @property
    def form(self) -> FormEditor:
        return self.query_one(FormEditor)

    def on_mount(self) -> None:
        self.form.fields.symbols = getattr(self.app, "symbols", "braille")
        # pydantic, and the names of the sessions there are: the screen stands there meanwhile.
        self.run_worker(self._open, thread=True)

    def on_unmount(self) -> None:
        if self._listing is not None:
            self._listing.cancel()
        if self._own:
            self._backstage.close()

    def _open(self) -> None:
        from workbench.store.preferences.database import Database
        from workbench.store.preferences.sessions import list_sessions
        from workbench.tui.rank.new_session_draft import NewSessionDraft

        try:
            with Database() as database:
                names = {session.name for session in list_sessions(database)}
        except WorkbenchError as error:
            notify_error(self.app, error)
            self.app.call_from_thread(self.dismiss, None)
            return
        self.app.call_from_thread(self._show, NewSessionDraft(names))

    def _show(self, draft: NewSessionDraft) -> None:
        self._draft = draft
        self.form.show(draft)
        self.form.fields.focus()
        self.form.fields.current = PROMPTS
        catalog = self._backstage.catalog
        self._listing = self._backstage.run(
            catalog.listing(lambda listed: self.call_later(self._take_models, list(listed)))
        )

    def _take_models(self, listed: Sequence[Listed]) -> None:
        if self._draft is not None and self.is_attached:
            self._draft.add_models(listed)
            self.form.refresh_fields()

    # What follows from the draft.

    @on(FormEditor.Changed)
    def _changed(self) -> None:
        draft = self._draft
        if draft is None:
            return
        wanted = draft.reading()
        if wanted != self._wanted:
            self._wanted = wanted
            draft.take_prompts_problem("")
            self.set_timer(SETTLE_SECONDS, lambda: self._look(wanted))
        self._show_state()

    def _show_state(self) -> None:
        draft = self._draft
        assert draft is not None
        wrong = len(draft.problems)
        state = f"{wrong} to be mended" if wrong else "ctrl+j begins it"
        self.query_one("#form-title", Static).update(f"New session · {state}")
        words = [self._seen.words] if self._seen.reading == draft.reading() and self._seen.words else []
        answers = draft.answers_per_prompt()
        if answers:
            words.append(f"{answers} answer{'s' * (answers != 1)} to each")
            if self._seen.count and words[0] == self._seen.words:
                words.append(f"{answers * self._seen.count:,} in all")
        self._note(", ".join(words))
        self.refresh_bindings()

    def _note(self, words: str) -> None:
        self.query_one("#session-note", Static).update(reveal_control(words))

    def _look(self, reading: tuple[Path | None, dict[str, Any]]) -> None:
        """Read the file of prompts, when nothing was typed for a moment."""
        path = reading[0]
        if reading != self._wanted or path is None or not path.is_file() or not self.is_attached:
            return

        def read() -> None:
            from workbench.prompting.ranking.prompts import read_prompts

            limit = min(reading[1]["limit"] or PREVIEW, PREVIEW)
            try:
                found = read_prompts(path, **{**reading[1], "limit": limit})
                more = "at least " if len(found.prompts) == PREVIEW else ""
                seen = _Seen(reading, more + found.in_words(), "", len(found.prompts))
            except WorkbenchError as error:
                place = error.where.removeprefix(str(path)).lstrip(":, ")
                seen = _Seen(reading, "", f"{f'line {place}: ' if place.isdigit() else ''}{error.message}")
            self.app.call_from_thread(self._take_seen, seen)

        self.run_worker(read, thread=True, group="prompts", exclusive=True)

    def _take_seen(self, seen: _Seen) -> None:
        draft = self._draft
        if draft is None or not self.is_attached or seen.reading != draft.reading():
            return
        self._seen = seen
        draft.take_prompts_problem(seen.problem)
        self.form.refresh_fields()

    # What the keys do.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "complete":
            return self.is_mounted and self._typing_path
        return True

    @property
    def _typing_path(self) -> bool:
        field = self.form.fields.field
        return self.form.editing and field is not None and field.key == PROMPTS

    def action_complete(self) -> None:
        """Complete the path as far as it is clear, and show what it may be."""
        entry = self.query_one("#form-input", Prompt)
        text, names = complete(entry.value)
        if text != entry.value:
            entry.value = text
            entry.cursor_position = len(text)
        self._note("  ".join(names) if len(names) != 1 else "")
        if not names:
            self._note("no folder and no file of prompts begins so")

    def action_back(self) -> None:
        """Out of the line, the search, the form: one step each."""
        if not self.form.step_back():
            self.dismiss(None)

    def action_start(self) -> None:
        draft = self._draft
        if draft is None or self._making:
            return
        if draft.problems:
            key = self.form.show_problem()
            notify(self.app, f"{key.partition('.')[2]}: {draft.problems[key]}")
            return
        self._making = True
        self.run_worker(lambda: self._make(draft), thread=True)

    def _make(self, draft: NewSessionDraft) -> None:
        from workbench.prompting.ranking.control import ensure_generating
        from workbench.prompting.ranking.create import create
        from workbench.prompting.ranking.prompts import read_prompts
        from workbench.store.preferences.database import Database

        name = None
        try:
            path, how = draft.reading()
            assert path is not None
            found = read_prompts(path, **how)
            with Database() as database:
                session = create(database, draft.plan(), found.prompts)
            name = session.name
            ensure_generating(session)
        except WorkbenchError as error:
            notify_error(self.app, error)
        self._making = False
        if name is not None:
            self.app.call_from_thread(self.dismiss, name)
