"""One answer: a row with its key and its place, and under it what it says."""

from __future__ import annotations

from rich.cells import set_cell_size
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container
from textual.events import Click
from textual.message import Message
from textual.widget import Widget

from workbench.tui.rank.lines import Lines
from workbench.tui.rank.words import LIMIT, STEP, answer_lines
from workbench.tui.text import strip_control
from workbench.tui.widgets.styles import part_style, row_style
from workbench.tui.widgets.text_lines import Line, Span, wrap

PREVIEW = 200


class Head(Widget):
    """The row above an answer."""

    DEFAULT_CSS = """
    Head { height: 1; background: $panel; color: $text-muted; }
    Head:ansi, Head:nocolor { text-style: underline; }
    Head > .head--key { color: $accent; text-style: bold; }
    Head > .head--place { color: $text-success; text-style: bold; }
    Head > .head--focus { background: $primary; color: $text; text-style: bold; }
    Head:ansi > .head--focus { background: ansi_blue; color: ansi_bright_white; }
    Head:nocolor > .head--focus { text-style: bold reverse; }
    """
    COMPONENT_CLASSES = {"head--key", "head--place", "head--focus"}

    def __init__(self) -> None:
        super().__init__()
        self.parts: tuple[int, str, str, str, bool] = (0, "", "", "", False)

    def say(self, number: int, place: str, preview: str, note: str, focus: bool) -> None:
        """Show this; redraws only on a difference."""
        parts = (number, place, preview, note, focus)
        if parts != self.parts:
            self.parts = parts
            self.refresh()

    def render(self) -> Text:
        number, place, preview, note, focus = self.parts
        base = row_style(self, "head--focus", self.rich_style) if focus else self.rich_style
        text = Text(no_wrap=True, end="", style=base)
        text.append(f" {number} ", base if focus else part_style(self, "head--key", base))
        text.append(f" {place}" if place else "", base if focus else part_style(self, "head--place", base))
        if preview:
            text.append(f"  {preview}", base)
        room = max(1, self.size.width - (len(note) + 2 if note else 0))
        text.truncate(room)
        # Blanks with the style of the row, which is more than a background where there are no colours.
        text.append(" " * (room - text.cell_len), base)
        text.append(f" {note} " if note else "", base)
        text.truncate(self.size.width)
        return text


class Body(Lines, can_focus=False, inherit_bindings=False):
    """What an answer says. It has no keys of its own: those of the ranking scroll it."""

    DEFAULT_CSS = "Body { scrollbar-size-vertical: 1; padding: 0 1; }"

    def show_first(self, roles: tuple[str, ...]) -> None:
        """Scroll to the first row with text in one of the roles, where it is out of sight."""
        top, height = int(self.scroll_offset.y), self.size.height
        for number, row in enumerate(self._rows):
            if any(role in roles for _, role in row):
                if not top <= number < top + height:
                    self.scroll_to(y=max(0, number - height // 3), animate=False)
                return


class AnswerPane(Container):
    """Shows a text, laid out anew only where something about that changed."""

    DEFAULT_CSS = """
    AnswerPane { height: 1fr; width: 1fr; }
    AnswerPane.-beside { border-left: solid $panel; }
    AnswerPane:ansi.-beside { border-left: solid ansi_bright_black; }
    """

    class Clicked(Message):
        """It was clicked."""

        def __init__(self, pane: AnswerPane) -> None:
            super().__init__()
            self.pane = pane

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.text = ""
        self.cut_off = False
        self.limit = LIMIT
        self.marked: list[Span] | None = None
        self.alike: float | None = None
        self.score: float | None = None
        self._laid: tuple[object, ...] = ()
        self._lines: list[Line] = []
        self._rows = 0

    def compose(self) -> ComposeResult:
        yield Head()
        yield Body()

    @property
    def body(self) -> Body:
        """The rows under the head."""
        return self.query_one(Body)

    @property
    def preview(self) -> str:
        """How it begins, on one line."""
        return " ".join(strip_control(self.text[:PREVIEW]).split())

    def take(self, text: str, *, cut_off: bool = False) -> None:
        """Show another answer, from its beginning."""
        self.text, self.cut_off, self.limit = text, cut_off, LIMIT
        self.marked = self.alike = None
        self.body.scroll_to(y=0, animate=False)

    def more(self) -> bool:
        """Lay out more of a long answer; False where all of it is."""
        if self.limit >= len(self.text):
            return False
        self.limit *= STEP
        return True

    def lay_out(self, width: int, markdown: bool) -> int:
        """Make the rows for a body of so many cells, and say how many there are."""
        wanted = (self.text, width, markdown, self.limit, id(self.marked), self.cut_off)
        if wanted != self._laid:
            self._laid = wanted
            self._lines = answer_lines(
                self.text,
                width,
                markdown=markdown,
                limit=self.limit,
                marked=self.marked,
                cut_off=self.cut_off,
            )
            self._rows = sum(len(wrap(line, width)) if line else 1 for line in self._lines)
        return self._rows

    def draw(self, place: str, *, focus: bool, folded: bool) -> None:
        """Bring the head and the body in line with the state."""
        notes = [f"score {self.score:+.2f}"] if self.score is not None else []
        notes += [f"{self.alike:.0%} alike"] if self.alike is not None else []
        note = " · ".join(notes)
        preview = set_cell_size(self.preview, 120).rstrip() if folded else ""
        self.query_one(Head).say(self.number, place, preview, note, focus)
        self.body.set_lines(self._lines)

    def on_click(self, event: Click) -> None:
        event.stop()
        self.post_message(self.Clicked(self))
