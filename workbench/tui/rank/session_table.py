"""The table of sessions: one line each, columns that give way on narrow terminals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.events import Click, Resize
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from workbench.tui.commands import bindings
from workbench.tui.rank.commands import TABLE_COMMANDS
from workbench.tui.rank.session_rows import SessionRow
from workbench.tui.text import clock, reveal_control
from workbench.tui.widgets.styles import part_style, row_style


@dataclass(frozen=True)
class Column:
    """A column; those that `keep` least go first where there is no room."""

    title: str
    width: int
    keep: int
    text: Callable[[SessionRow, str], str]
    right: bool = False


COLUMNS = (
    Column("prompts", 7, 3, lambda row, _: f"{row.prompts:,}", True),
    Column("ready", 7, 6, lambda row, _: f"{row.ready:,}", True),
    Column("by you", 7, 8, lambda row, name: f"{row.ranked.get(name, 0):,}", True),
    Column("flagged", 7, 4, lambda row, _: f"{row.flagged:,}" if row.flagged else "–", True),
    Column("answers", 13, 7, lambda row, _: row.state),
    Column("ranked by", 22, 5, lambda row, _: row.people or "nobody yet"),
    Column("of", 40, 2, lambda row, _: row.source),
    Column("made", 16, 1, lambda row, _: clock(row.session.created)),
)
NAME_WIDTHS = (16, 36)
MARK = 2


class SessionTable(ScrollView, can_focus=True):
    """Rows as they come, the newest first. The cursor stays on its session when others come.

    `annotator` is whoever looks at it.
    """

    HELP_TITLE = "Table of sessions"
    DEFAULT_CSS = """
    SessionTable { height: 1fr; overflow-x: hidden; background: $background; color: $foreground; }
    SessionTable > .session-table--head { color: $text-muted; text-style: bold; }
    SessionTable > .session-table--cursor { background: $primary-muted; text-style: bold; }
    SessionTable > .session-table--dim { color: $text-muted; }
    SessionTable:ansi > .session-table--cursor { background: ansi_default; text-style: reverse; }
    SessionTable:nocolor > .session-table--cursor { text-style: reverse; }
    """
    COMPONENT_CLASSES = {f"session-table--{part}" for part in ("head", "cursor", "dim")}
    BINDINGS = bindings(*TABLE_COMMANDS)

    selected: reactive[str] = reactive("", init=False)
    annotator: reactive[str] = reactive("", init=False)

    class Moved(Message):
        """The cursor went to another session."""

    class Opened(Message):
        """A session was clicked twice."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: Sequence[SessionRow] = ()
        self._columns: tuple[Column, ...] = COLUMNS
        self._name_width = NAME_WIDTHS[0]

    @property
    def row(self) -> SessionRow | None:
        """The session under the cursor."""
        return next((row for row in self.rows if row.name == self.selected), None)

    @property
    def cursor(self) -> int:
        """Its number."""
        return next((number for number, row in enumerate(self.rows) if row.name == self.selected), 0)

    def show(self, rows: Sequence[SessionRow]) -> None:
        """Show these rows; redraws only on a difference."""
        if rows == self.rows:
            return
        place = self.cursor
        self.rows = rows
        if self.row is None:
            self.selected = rows[min(place, len(rows) - 1)].name if rows else ""
        self.virtual_size = Size(self.size.width, len(rows) + 1)
        self._fit_columns()
        self.refresh()

    def _fit_columns(self) -> None:
        width = self.scrollable_content_region.width
        least, most = NAME_WIDTHS
        longest = max((cell_len(row.name) for row in self.rows), default=least)
        columns = list(COLUMNS)
        while columns and width - _width_of(columns) < min(max(longest, least), 24):
            columns.remove(min(columns, key=lambda column: column.keep))
        self._columns = tuple(columns)
        self._name_width = max(8, min(width - _width_of(columns), max(longest, least), most))

    def on_resize(self, event: Resize) -> None:
        self.virtual_size = Size(self.size.width, len(self.rows) + 1)
        self._fit_columns()
        self.refresh()
        self._show_cursor()

    def watch_selected(self) -> None:
        self._show_cursor()
        self.refresh()
        self.post_message(self.Moved())

    def _show_cursor(self) -> None:
        top, height = int(self.scroll_offset.y), max(1, self.size.height - 1)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False)

    def action_move(self, by: int) -> None:
        if self.rows:
            self.selected = self.rows[min(max(self.cursor + by, 0), len(self.rows) - 1)].name

    def action_page(self, by: int) -> None:
        self.action_move(by * max(1, self.size.height - 2))

    def on_click(self, event: Click) -> None:
        number = int(self.scroll_offset.y) + event.y - 1
        if event.y and 0 <= number < len(self.rows):
            self.selected = self.rows[number].name
            if event.chain == 2:
                self.post_message(self.Opened())

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        if y == 0:
            head = part_style(self, "session-table--head", base)
            titles = [(column, column.title) for column in self._columns]
            return self._line("session", titles, head, head, width)
        number = int(self.scroll_offset.y) + y - 1
        if number >= len(self.rows):
            return Strip.blank(width, base)
        row = self.rows[number]
        under = row.name == self.selected
        if under:
            base = row_style(self, "session-table--cursor", base)
        cells = [(column, reveal_control(column.text(row, self.annotator))) for column in self._columns]
        dim = base if under else part_style(self, "session-table--dim", base)
        return self._line(row.name, cells, base, dim, width, "> " if under else "  ")

    def _line(
        self,
        name: str,
        cells: Sequence[tuple[Column, str]],
        base: Style,
        rest: Style,
        width: int,
        mark: str = "  ",
    ) -> Strip:
        segments = [Segment(mark + _cell(name, self._name_width, False), base)]
        segments += [Segment("  " + _cell(text, column.width, column.right), rest) for column, text in cells]
        return Strip(segments).crop(0, width).adjust_cell_length(width, base)


def _width_of(columns: Sequence[Column]) -> int:
    return MARK + sum(column.width + 2 for column in columns)


def _cell(text: str, width: int, right: bool) -> str:
    """Exactly `width` cells; what is cut ends in …"""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)
