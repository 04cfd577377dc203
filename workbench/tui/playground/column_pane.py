"""A column on screen: a line that says who answers and how fast, and under it one view of what came."""

from __future__ import annotations

import time

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container
from textual.events import Click
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from workbench.tui.playground.answer_view import AnswerView
from workbench.tui.playground.column import Column
from workbench.tui.playground.odds import OddsPane
from workbench.tui.playground.passages import passage_lines
from workbench.tui.playground.steps import step_lines
from workbench.tui.playground.tool_question import ToolQuestion
from workbench.tui.playground.votes import vote_lines
from workbench.tui.text import reveal_control, short_number
from workbench.tui.widgets.styles import part_style, row_style
from workbench.tui.widgets.text_lines import TextLines

HEAD_SECONDS = 0.5


class HeadLine(Widget):
    """Model and technique at the left, state and speed at the right."""

    DEFAULT_CSS = """
    HeadLine { height: 1; background: $surface; color: $foreground; }
    HeadLine > .head-line--active { background: $primary-muted; text-style: bold; }
    HeadLine > .head-line--good { color: $text-success; }
    HeadLine > .head-line--warn { color: $text-warning; }
    HeadLine > .head-line--bad { color: $text-error; text-style: bold; }
    HeadLine:ansi > .head-line--active { background: ansi_default; text-style: bold reverse; }
    HeadLine:nocolor > .head-line--active { text-style: bold reverse; }
    """
    COMPONENT_CLASSES = {"head-line--active", "head-line--good", "head-line--warn", "head-line--bad"}

    words: reactive[tuple[str, str, str]] = reactive(("", "", ""))
    """Left, right, and the role of the right."""
    active: reactive[bool] = reactive(False)

    def render(self) -> Text:
        left, right, role = self.words
        base = row_style(self, "head-line--active", self.rich_style) if self.active else self.rich_style
        room = max(0, self.size.width - cell_len(right) - 3)
        short = set_cell_size(left, room - 1) + "…" if cell_len(left) > room else set_cell_size(left, room)
        text = Text(no_wrap=True, end="")
        text.append(f" {short} ", base)
        text.append(f"{right} ", part_style(self, f"head-line--{role}", base) if role else base)
        text.truncate(self.size.width)
        return text


class ColumnPane(Container):
    """Shows a column by one of the views."""

    DEFAULT_CSS = """
    ColumnPane { width: 1fr; height: 1fr; }
    ColumnPane > .view { display: none; padding: 0 1; height: 1fr; }
    ColumnPane.-answer > AnswerView, ColumnPane.-tokens > OddsPane { display: block; }
    ColumnPane.-votes > .votes, ColumnPane.-passages > .passages { display: block; }
    ColumnPane.-steps > .steps { display: block; }
    ColumnPane TextLines { scrollbar-size-vertical: 1; }
    """

    class Picked(Message):
        """The column was clicked."""

        def __init__(self, column: Column) -> None:
            super().__init__()
            self.column = column

    def __init__(self, column: Column) -> None:
        super().__init__()
        self.column = column
        self.view = "answer"
        self.symbols = "braille"
        self.markdown = False
        self._seen: tuple[object, ...] = ()
        self._head_drawn = 0.0

    def compose(self) -> ComposeResult:
        yield HeadLine()
        yield ToolQuestion(self.column)
        yield AnswerView().add_class("view")
        yield OddsPane().add_class("view")
        for name in ("votes", "passages", "steps"):
            yield TextLines().add_class("view", name)

    @property
    def place(self) -> Widget:
        """What has the keys while this column is the active one."""
        if self.column.pending is not None:
            return self.query_one(ToolQuestion)
        if self.view == "answer":
            return self.query_one(AnswerView)
        if self.view == "tokens":
            return self.query_one(OddsPane).place
        return self.query_one(f".{self.view}", TextLines)

    def set_column(self, column: Column) -> None:
        """Show another column."""
        self.column, self._seen = column, ()

    def set_view(self, view: str) -> None:
        """Show another view."""
        self.remove_class(f"-{self.view}")
        self.view = view
        self.add_class(f"-{view}")
        self._seen = ()

    def refresh_column(self, number: int, *, active: bool, several: bool) -> None:
        """Draw what has changed since the last time."""
        column = self.column
        head = self.query_one(HeadLine)
        head.active = active and several
        # Speeds change all the time; twice a second is as often as one reads them.
        if column.state != "running" or time.monotonic() - self._head_drawn > HEAD_SECONDS:
            head.words = head_words(column, number if several else 0)
            self._head_drawn = time.monotonic()
        self.query_one(ToolQuestion).show()
        seen = (column.revision, column.chain, self.view, self.symbols, self.markdown, self.size)
        if seen == self._seen:
            return
        self._seen = seen
        width = max(20, self.size.width - 3)
        match self.view:
            case "answer":
                self.query_one(AnswerView).show(column, markdown=self.markdown)
            case "tokens":
                odds = self.query_one(OddsPane)
                odds.symbols = self.symbols
                odds.show(column)
            case "votes":
                self.query_one(".votes", TextLines).set_lines(vote_lines(column, width, self.symbols))
            case "passages":
                self.query_one(".passages", TextLines).set_lines(passage_lines(column, self.symbols))
            case "steps":
                self.query_one(".steps", TextLines).set_lines(step_lines(column))

    def on_click(self, event: Click) -> None:
        self.post_message(self.Picked(self.column))


def head_words(column: Column, number: int) -> tuple[str, str, str]:
    """The line above a column: left, right, and the role of the right."""
    used = column.technique if column.state != "empty" else ""
    parts = [column.setup.in_words(used or column.usual_technique)]
    if len(column.chains) > 1:
        parts.append(f"chain {column.chain + 1} of {len(column.chains)}")
    left = f"{number} " if number else ""
    return left + reveal_control(" · ".join(parts)), *_state_words(column)


def _state_words(column: Column) -> tuple[str, str]:
    parts = []
    if (score := column.scores.get(column.chain)) is not None:
        parts.append(f"score {score:+.2f}")
    if column.rate is not None:
        parts.append(f"{column.rate:.1f} tok/s")
    if column.first_seconds is not None:
        parts.append(f"first {column.first_seconds:.2f} s")
    if column.num_tokens:
        parts.append(f"{short_number(column.num_tokens)} tok")
    speed = " · ".join(parts)
    if not column.busy and column.warming is not None:
        return reveal_control(column.words)[-44:] or "opening", "warn"
    if not column.busy and column.gone:
        return "no engine; g starts it", "bad"
    match column.state:
        case "empty":
            return "", ""
        case "opening":
            return "waiting for the model", "warn"
        case "running" if column.pending is not None:
            return "y or n?", "warn"
        case "running":
            return speed or "asked", "good"
        case "failed":
            return "failed", "bad"
        case "cancelled":
            return f"cancelled · {speed}" if speed else "cancelled", "warn"
        case "done":
            return speed or "done", ""
    return "", ""
