"""Everything that was sent: searched, looked at, opened again, sent again."""

from __future__ import annotations

import threading
from typing import Literal

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from workbench.errors import WorkbenchError
from workbench.store import history
from workbench.store.history import HistoryEntry
from workbench.tui.commands import Command, bindings
from workbench.tui.notices import notify, notify_error
from workbench.tui.playground.answer_view import head_lines, tail_lines
from workbench.tui.playground.column import Column
from workbench.tui.playground.column_pane import head_words
from workbench.tui.playground.column_record import column_of
from workbench.tui.playground.setup import Setup
from workbench.tui.playground.stream_lines import lines_of
from workbench.tui.text import clock, reveal_control
from workbench.tui.widgets.key_bar import KeyBar
from workbench.tui.widgets.pick_list import PickList
from workbench.tui.widgets.prompt import Prompt
from workbench.tui.widgets.text_lines import Line, TextLines, plain

Wish = tuple[Literal["open", "send"], HistoryEntry]
MOST = 200
NOTHING = "Nothing was sent yet. What you send is kept here."
NO_MATCH = "Nothing holds all these words."


class HistoryScreen(ModalScreen[Wish | None]):
    """The latest first; dismisses with what is to be done with which."""

    HELP_TITLE = "History"
    DEFAULT_CSS = """
    HistoryScreen { background: $background; }
    HistoryScreen #history-title { height: 1; background: $panel; text-style: bold; padding: 0 1; }
    HistoryScreen #history-body { layout: vertical; height: 1fr; }
    HistoryScreen PickList { height: 2fr; border: none; background: $background; padding: 0 1; }
    HistoryScreen PickList { text-wrap: nowrap; text-overflow: ellipsis; overflow-x: hidden; }
    HistoryScreen TextLines { height: 3fr; padding: 0 1; border-top: solid $panel; }
    HistoryScreen.-wide #history-body { layout: horizontal; }
    HistoryScreen.-wide PickList { width: 2fr; height: 1fr; }
    HistoryScreen.-wide TextLines { width: 3fr; height: 1fr; border-top: none; border-left: solid $panel; }
    """
    BINDINGS = bindings(
        Command("history.open", "enter", "finish('open')", "open", "Open it again, as it stood."),
        Command("history.send", "R", "finish('send')", "send again", "Open it and send it again."),
        Command("history.search", "slash", "search", "search", "Show what holds some words."),
        Command("history.copy", "y", "copy", "copy", "Copy its answer."),
        Command("history.copy_prompt", "Y", "copy_question", "prompt", "Copy what was sent.", footer=False),
        Command("history.down", "j", "move(1)", "down", "Go to the next line.", footer=False),
        Command("history.below", "down", "move(1)", "down", "Go to the next line.", False, True),
        Command("history.above", "up", "move(-1)", "up", "Go to the line before.", False, True),
        Command("history.up", "k", "move(-1)", "up", "Go to the line before.", footer=False),
        Command(
            "history.scroll", "space,pagedown", "scroll(1)", "scroll", "Scroll the answer.", footer=False
        ),
        Command("history.scroll_up", "b,pageup", "scroll(-1)", "up", "Scroll the answer up.", footer=False),
        Command("history.back", "escape,h", "back", "back", "Put the search away; leave."),
        Command("history.help", "question_mark,f1", "app.help", "help", "Show every key.", footer=False),
    )

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[HistoryEntry] = []
        self.words = ""
        self._superseded = threading.Event()

    def compose(self) -> ComposeResult:
        yield Static("History", id="history-title", markup=False)
        yield Prompt("words of a prompt, an answer, a model", id="history-words")
        with Container(id="history-body"):
            yield PickList(compact=True)
            yield TextLines()
        yield KeyBar()

    def on_mount(self) -> None:
        self.set_class(self.app.size.width >= 140, "-wide")
        self.query_one(PickList).focus()
        self._read()

    def on_unmount(self) -> None:
        self._superseded.set()

    @property
    def prompt(self) -> Prompt:
        """Where the words are typed."""
        return self.query_one("#history-words", Prompt)

    @property
    def entry(self) -> HistoryEntry | None:
        """The one under the cursor."""
        place = self.query_one(PickList).highlighted
        return self.entries[place] if place is not None and place < len(self.entries) else None

    def _read(self) -> None:
        """Read what holds the words; a later search ends an earlier one."""
        self._superseded.set()
        superseded, words = threading.Event(), self.words
        self._superseded = superseded

        def read() -> None:
            try:
                found = list(history.entries(words, limit=MOST, should_stop=superseded.is_set))
            except WorkbenchError as error:
                notify_error(self.app, error)
                return
            if not superseded.is_set():
                self.call_later(self._take, found)

        self.run_worker(read, thread=True, group="history")

    def _take(self, found: list[HistoryEntry]) -> None:
        self.entries = found
        options = self.query_one(PickList)
        options.clear_options()
        options.add_options([Option(_title(entry)) for entry in found])
        options.highlighted = 0 if found else None
        count = f"{len(found)}{'+' if len(found) == MOST else ''} sent"
        with_words = f" with “{reveal_control(self.words)}”" if self.words else ""
        self.query_one("#history-title", Static).update(f"History · {count}{with_words}")
        self._show()

    @on(OptionList.OptionHighlighted)
    def _moved(self, message: OptionList.OptionHighlighted) -> None:
        message.stop()
        self._show()

    def _show(self) -> None:
        lines = self.query_one(TextLines)
        entry = self.entry
        if entry is None:
            lines.set_lines([plain(NO_MATCH if self.words else NOTHING, "dim")])
            return
        lines.set_lines(_entry_lines(entry))
        lines.scroll_home(animate=False)

    def action_move(self, by: int) -> None:
        options = self.query_one(PickList)
        if self.entries:
            options.highlighted = min(max((options.highlighted or 0) + by, 0), len(self.entries) - 1)

    def action_scroll(self, by: int) -> None:
        lines = self.query_one(TextLines)
        lines.scroll_relative(y=by * max(1, lines.size.height - 1), animate=False)

    @on(OptionList.OptionSelected)
    def _selected(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        self.action_finish("open")

    def action_finish(self, what: Literal["open", "send"]) -> None:
        if self.entry is not None:
            self.dismiss((what, self.entry))

    def action_search(self) -> None:
        self.prompt.ask(self.words)

    @on(Input.Changed, "#history-words")
    def _typed(self, message: Input.Changed) -> None:
        message.stop()
        self.words = message.value
        self._read()

    @on(Input.Submitted, "#history-words")
    def _searched(self, message: Input.Submitted) -> None:
        message.stop()
        self.prompt.put_away()
        self.query_one(PickList).focus()

    def action_copy(self) -> None:
        if self.entry is not None:
            answers = [_answer_text(answer) for answer in self.entry.answers.values()]
            self.app.copy_to_clipboard("\n\n".join(answers))
            notify(self.app, "the answer is copied")

    def action_copy_question(self) -> None:
        if self.entry is not None:
            self.app.copy_to_clipboard(self.entry.question)
            notify(self.app, "what was sent is copied")

    def action_back(self) -> None:
        if self.prompt.asked or self.words:
            self.prompt.put_away()
            self.query_one(PickList).focus()
            if self.words:
                self.words = ""
                self._read()
        else:
            self.dismiss(None)


def columns_of(entry: HistoryEntry) -> list[Column]:
    """The columns as they stood; one that never came to an end is there without an answer."""
    setups = entry.sent.get("setups")
    return [
        column_of(entry.question, entry.answers.get(number) or {"setup": kept})
        for number, kept in enumerate(setups if isinstance(setups, list) else [])
    ]


def _title(entry: HistoryEntry) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{clock(entry.time)[5:]}  ", "dim")
    text.append(reveal_control(" ".join(entry.question.split()) or "(empty)"), "bold")
    setups = entry.sent.get("setups")
    names = [Setup.from_json(kept).in_words() for kept in setups] if isinstance(setups, list) else []
    text.append(f"  {reveal_control(' | '.join(names))}", "dim")
    return text


def _answer_text(answer: dict[str, object]) -> str:
    chains = answer.get("chains")
    shown = answer.get("chain")
    for chain in chains if isinstance(chains, list) else []:
        if chain.get("number") == shown:
            return "".join(text for text, role in chain.get("log") or () if not role)
    return ""


def _entry_lines(entry: HistoryEntry) -> list[Line]:
    lines: list[Line] = []
    if entry.sent.get("prompt"):
        lines.append((("prompt  ", "dim"), (reveal_control(str(entry.sent["prompt"])), "")))
    columns = columns_of(entry)
    for number, column in enumerate(columns):
        left, right, _ = head_words(column, number + 1 if len(columns) > 1 else 0)
        if number == 0:
            lines += head_lines(column)
        lines.append(((left, "title"), (f"  {right}", "dim")))
        chain = column.shown
        lines += lines_of(chain.log if chain is not None else [])
        lines += [*tail_lines(column), ()]
    return lines
