"""Many lines of literal text, wrapped to the width: logs, samples, recipes, readings.

A line API widget: only what is on screen is ever turned into segments, so a log of thousands of lines
costs no more than a short one. Text is shown as it is; nothing in it is read as markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style
from textual.events import Resize
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from workbench.tui.commands import Command, bindings
from workbench.tui.widgets.styles import part_style

Span: TypeAlias = tuple[str, str]
"""A piece of text and its role: empty, or of `ROLES` and `EMPHASES`, several with blanks between."""
Line: TypeAlias = tuple[Span, ...]

ROLES = ("title", "dim", "key", "good", "warn", "bad")
EMPHASES = ("strong", "emphasis", "strike", "code")


def plain(text: str, role: str = "") -> Line:
    """One line in one role."""
    return ((text, role),)


class TextLines(ScrollView, can_focus=True):
    """Shows lines; `follow` keeps the end in view as lines are added, until one scrolls up."""

    DEFAULT_CSS = """
    TextLines { height: 1fr; background: $background; color: $foreground; overflow-x: hidden; }
    TextLines > .text-lines--title { color: $text-primary; text-style: bold; }
    TextLines > .text-lines--dim { color: $text-muted; }
    TextLines > .text-lines--key { color: $accent; }
    TextLines > .text-lines--good { color: $text-success; }
    TextLines > .text-lines--warn { color: $text-warning; }
    TextLines > .text-lines--bad { color: $text-error; text-style: bold; }
    TextLines > .text-lines--strong { text-style: bold; }
    TextLines > .text-lines--emphasis { text-style: italic; }
    TextLines > .text-lines--strike { text-style: strike; }
    TextLines > .text-lines--code { color: $text-secondary; }
    TextLines:nocolor > .text-lines--code { text-style: underline; }
    """
    COMPONENT_CLASSES = {f"text-lines--{role}" for role in (*ROLES, *EMPHASES)}
    BINDINGS = bindings(
        Command("text.down", "j", "scroll_down", "down", "Scroll one line down.", footer=False),
        Command("text.up", "k", "scroll_up", "up", "Scroll one line up.", footer=False),
        Command("text.home", "home", "scroll_home", "start", "Go to the first line.", footer=False),
        Command("text.end", "end", "scroll_end", "end", "Go to the last line and follow it.", footer=False),
    )

    def __init__(self, *, follow: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self.follow = follow
        self.lines: Sequence[Line] = ()
        self._rows: list[Line] = []

    @property
    def text(self) -> str:
        """All lines as plain text."""
        return "\n".join("".join(text for text, _ in line) for line in self.lines)

    def set_lines(self, lines: Iterable[Line]) -> None:
        """Show these lines instead of the present ones; redraws only what differs on screen."""
        new = list(lines)
        if new == self.lines:
            return
        at_end = self.scroll_offset.y >= self.max_scroll_y
        self.lines = new
        old_rows = self._rows
        self._wrap()
        if self.follow and at_end:
            self.scroll_end(animate=False)
        first = int(self.scroll_offset.y)
        for y in range(self.size.height):
            before = old_rows[first + y] if first + y < len(old_rows) else None
            after = self._rows[first + y] if first + y < len(self._rows) else None
            if before != after:
                self.refresh(Region(0, y, self.size.width, 1))

    def on_resize(self, event: Resize) -> None:
        at_end = self.scroll_offset.y >= self.max_scroll_y
        self._wrap()
        if self.follow and at_end:
            self.scroll_end(animate=False)

    def _wrap(self) -> None:
        width = max(1, self.scrollable_content_region.width)
        self._rows = [row for line in self.lines for row in wrap(line, width)]
        self.virtual_size = Size(width, len(self._rows))

    def render_line(self, y: int) -> Strip:
        row = int(self.scroll_offset.y) + y
        base = self.rich_style
        width = self.size.width
        if row >= len(self._rows):
            return Strip.blank(width, base)
        segments = [Segment(text, self._style(role, base)) for text, role in self._rows[row]]
        return Strip(segments).adjust_cell_length(width, base)

    def _style(self, role: str, base: Style) -> Style:
        style = base
        for name in role.split():
            style = part_style(self, f"text-lines--{name}", style)
        return style


def wrap(line: Line, width: int) -> list[Line]:
    """Break a line into rows of at most `width` cells, at blanks where there are some."""
    text = "".join(part for part, _ in line)
    if len(text) <= width and (text.isascii() or cell_len(text) <= width):
        return [line]
    return list(_rows(line, (len(chunk) for chunk in _chunks(text, width))))


def _chunks(text: str, width: int) -> Iterable[str]:
    while text:
        piece = text[:width] if text.isascii() else chop_cells(text[: width * 2], width)[0]
        # A character that is wider than a row would come out as nothing, for ever.
        piece = piece or text[0]
        if len(piece) < len(text):
            blank = piece.rfind(" ")
            if blank > width // 2:
                piece = piece[: blank + 1]
        yield piece
        text = text[len(piece) :]


def _rows(line: Line, lengths: Iterable[int]) -> Iterable[Line]:
    """A line cut into rows of so many characters each, roles kept."""
    spans, text, role = iter(line), "", ""
    for length in lengths:
        row: list[Span] = []
        while length:
            if not text:
                text, role = next(spans)
            row += [(text[:length], role)] if text else []
            length, text = max(0, length - len(text)), text[length:]
        yield tuple(row)
