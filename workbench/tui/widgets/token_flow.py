"""A row of tokens in colour, wrapped like text: what each is to the objective, and what it attends to.

A line API widget: a row of eight thousand tokens costs no more to draw than what is on screen.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.events import Click, Resize
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from workbench.tui.commands import Command, bindings
from workbench.tui.widgets.styles import part_style

STATES = {
    "supervised": ("", "", "predicted as it stands"),
    "masked": ("[", "]", "hidden by a mask, predicted"),
    "random": ("{", "}", "exchanged for a random token, predicted"),
    "kept": ("=", "=", "left as it is, predicted"),
    "replaced": ("{", "}", "replaced, to be found out"),
    "sentinel": ("<", ">", "stands for a span that was cut out"),
    "context": ("", "", "read, not predicted"),
    "special": ("", "", "frame"),
    "padding": ("", "", "padding"),
}
"""States with the marks that tell them apart without colour, and what they mean."""


@dataclass(frozen=True)
class Cell:
    """One token as it is shown: `text` is literal; `break_before` begins a new line (a document)."""

    text: str
    state: str
    break_before: bool = False


class TokenFlow(ScrollView, can_focus=True):
    """Tokens in reading order; the cursor is on one, and what it attends to can be lit up."""

    HELP_TITLE = "Tokens"
    DEFAULT_CSS = """
    TokenFlow { height: 1fr; overflow-x: hidden; background: $background; color: $foreground; }
    TokenFlow > .token--supervised { color: $text-success; }
    TokenFlow > .token--masked { color: $text-warning; text-style: bold; }
    TokenFlow > .token--random { color: $text-error; text-style: bold; }
    TokenFlow > .token--kept { color: $text-accent; text-style: bold; }
    TokenFlow > .token--replaced { color: $text-error; text-style: bold; }
    TokenFlow > .token--sentinel { color: $text-warning; text-style: bold; }
    TokenFlow > .token--context { color: $foreground; }
    TokenFlow > .token--special { color: $text-muted; }
    TokenFlow > .token--padding { color: $text-disabled; }
    """
    COMPONENT_CLASSES = {f"token--{state}" for state in STATES}
    BINDINGS = bindings(
        Command("tokens.right", "right,l", "move(1)", "next", "Go to the next token.", footer=False),
        Command("tokens.left", "left,h", "move(-1)", "before", "Go to the token before.", footer=False),
        Command("tokens.down", "down,j", "line(1)", "down", "Go a line down.", footer=False),
        Command("tokens.up", "up,k", "line(-1)", "up", "Go a line up.", footer=False),
        Command("tokens.page_down", "pagedown", "line(10)", "page", "Go ten lines down.", footer=False),
        Command("tokens.page_up", "pageup", "line(-10)", "page", "Go ten lines up.", footer=False),
        Command("tokens.home", "home", "move(-1000000)", "first", "Go to the first token.", footer=False),
        Command("tokens.end", "end", "move(1000000)", "last", "Go to the last token.", footer=False),
    )

    cursor: reactive[int] = reactive(0)

    class Moved(Message):
        """The cursor is on another token."""

        def __init__(self, flow: TokenFlow, index: int) -> None:
            super().__init__()
            self.flow, self.index = flow, index

        @property
        def control(self) -> TokenFlow:
            return self.flow

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.cells: Sequence[Cell] = ()
        self._lit: Collection[int] | None = None
        self._lines: list[list[int]] = []
        self._places: dict[int, tuple[int, int]] = {}

    def show(self, cells: Sequence[Cell], cursor: int = 0) -> None:
        """Show these tokens, the cursor on one of them."""
        self.cells, self._lit = cells, None
        self._wrap()
        self.cursor = min(cursor, max(0, len(cells) - 1))
        self.scroll_home(animate=False)
        self.refresh()

    def light(self, indices: Collection[int] | None) -> None:
        """Light up some tokens and dim the others; None shows all alike."""
        self._lit = None if indices is None else set(indices)
        self.refresh()

    def on_resize(self, event: Resize) -> None:
        self._wrap()
        self._show_cursor()

    def _wrap(self) -> None:
        width = max(4, self.scrollable_content_region.width)
        self._lines, self._places, column = [[]], {}, 0
        for index, cell in enumerate(self.cells):
            size = min(cell_len(_shown(cell)), width)
            if (column + size > width or cell.break_before) and self._lines[-1]:
                self._lines.append([])
                column = 0
            self._places[index] = (len(self._lines) - 1, column)
            self._lines[-1].append(index)
            column += size
        self.virtual_size = Size(width, len(self._lines))

    def render_line(self, y: int) -> Strip:
        base, width = self.rich_style, self.size.width
        number = y + int(self.scroll_offset.y)
        if number >= len(self._lines):
            return Strip.blank(width, base)
        segments = [Segment(_shown(self.cells[i]), self._style(i, base)) for i in self._lines[number]]
        return Strip(segments).adjust_cell_length(width, base)

    def _style(self, index: int, base: Style) -> Style:
        style = part_style(self, f"token--{self.cells[index].state}", base)
        if self._lit is not None:
            style += Style(underline=True) if index in self._lit else Style(dim=True)
        return style + Style(reverse=True) if index == self.cursor and self.has_focus else style

    def watch_cursor(self) -> None:
        self._show_cursor()
        self.refresh()
        if self.cells:
            self.post_message(self.Moved(self, self.cursor))

    def on_focus(self) -> None:
        self.refresh()

    on_blur = on_focus

    def _show_cursor(self) -> None:
        line, _ = self._places.get(self.cursor, (0, 0))
        top, height = int(self.scroll_offset.y), max(1, self.size.height)
        if line < top:
            self.scroll_to(y=line, animate=False)
        elif line >= top + height:
            self.scroll_to(y=line - height + 1, animate=False)

    def action_move(self, by: int) -> None:
        self.cursor = min(max(self.cursor + by, 0), max(0, len(self.cells) - 1))

    def action_line(self, by: int) -> None:
        """Go lines up or down, to the token that stands nearest above or below."""
        if not self.cells:
            return
        line, column = self._places[self.cursor]
        target = self._lines[min(max(line + by, 0), len(self._lines) - 1)]
        self.cursor = min(target, key=lambda index: abs(self._places[index][1] - column))

    def on_click(self, event: Click) -> None:
        line = event.y + int(self.scroll_offset.y)
        if line < len(self._lines):
            before = [index for index in self._lines[line] if self._places[index][1] <= event.x]
            if before:
                self.cursor = before[-1]


def _shown(cell: Cell) -> str:
    """A token between the marks of its state."""
    left, right, _ = STATES.get(cell.state, ("", "", ""))
    return f"{left}{cell.text}{right}"
