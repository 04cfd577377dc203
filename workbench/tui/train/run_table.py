"""The table of runs: one line a run, columns that give way on narrow terminals.

A line API widget of its own: a status that changes redraws one line, not the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.events import Click, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from workbench.tui.commands import Command, bindings
from workbench.tui.text import reveal_control, short_loss, short_number
from workbench.tui.train.rows import ROLES, SYMBOLS, Row
from workbench.tui.widgets.styles import part_style, row_style
from workbench.units import duration


@dataclass(frozen=True)
class Column:
    """A column: `order` is what a click on its head sorts by, `keep` how long it stays."""

    title: str
    width: int
    order: str
    keep: int
    text: Callable[[Row], str]
    right: bool = True


OBJECTIVES = {"classification": "class", "regression": "regress", "span_extraction": "spans"}
"""Objectives whose names are too long for a column."""

COLUMNS = (
    Column("state", 11, "state", 9, lambda row: row.state, right=False),
    Column(
        "obj", 7, "", 5, lambda row: OBJECTIVES.get(row.status.objective, row.status.objective), right=False
    ),
    Column("step", 13, "step", 8, lambda row: _steps(row)),
    Column("loss", 7, "loss", 7, lambda row: short_loss(row.status.loss)),
    Column("eval", 7, "eval_loss", 4, lambda row: short_loss(row.status.eval_loss)),
    Column("tok/s", 6, "", 3, lambda row: _speed(row)),
    Column("ETA", 7, "eta", 6, lambda row: duration(row.status.eta_seconds if row.active else None)),
)
MARK_WIDTH = 4
NAME_MAXIMUM = 40


def _steps(row: Row) -> str:
    step, total = str(row.status.step), row.status.max_steps
    full = f"{step}/{total}" if total else step
    return full if len(full) <= 13 else f"{short_number(row.status.step)}/{short_number(total or 0)}"


def _speed(row: Row) -> str:
    speed = row.status.tokens_per_second
    return short_number(speed) if speed is not None and row.active else "–"


class RunTable(ScrollView, can_focus=True):
    """Rows in the order given. The cursor stays on its run when rows move."""

    HELP_TITLE = "Table of runs"
    DEFAULT_CSS = """
    RunTable { height: 1fr; overflow-x: hidden; background: $background; color: $foreground; }
    RunTable > .run-table--head { color: $text-muted; text-style: bold; }
    RunTable > .run-table--cursor { background: $panel; text-style: bold; }
    RunTable:focus > .run-table--cursor { background: $primary-muted; }
    RunTable > .run-table--good { color: $text-success; }
    RunTable > .run-table--done { color: $text-primary; }
    RunTable > .run-table--warn { color: $text-warning; }
    RunTable > .run-table--bad { color: $text-error; }
    RunTable > .run-table--dim { color: $text-muted; }
    RunTable:ansi > .run-table--cursor { background: ansi_default; text-style: reverse; }
    RunTable:ansi:blur > .run-table--cursor { text-style: bold underline; }
    RunTable:nocolor > .run-table--cursor { text-style: reverse; }
    RunTable:nocolor:blur > .run-table--cursor { text-style: bold underline; }
    """
    COMPONENT_CLASSES = {
        f"run-table--{part}" for part in ("head", "cursor", "good", "done", "warn", "bad", "dim")
    }
    BINDINGS = bindings(
        Command("table.down", "down,j", "move(1)", "down", "Go to the next run.", footer=False),
        Command("table.up", "up,k", "move(-1)", "up", "Go to the run before.", footer=False),
        Command("table.page_down", "pagedown", "page(1)", "page down", "Go a page down.", footer=False),
        Command("table.page_up", "pageup", "page(-1)", "page up", "Go a page up.", footer=False),
        Command("table.first", "home", "move(-1000000)", "first", "Go to the first run.", footer=False),
        Command("table.last", "end", "move(1000000)", "last", "Go to the last run.", footer=False),
    )

    selected: reactive[str] = reactive("")
    symbols: reactive[str] = reactive("braille")
    order: reactive[str] = reactive("created")
    reverse: reactive[bool] = reactive(False)

    class Selected(Message):
        """The cursor went to another run, by key or by mouse."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class HeadClicked(Message):
        """The head of a column was clicked."""

        def __init__(self, order: str) -> None:
            super().__init__()
            self.order = order

    class Opened(Message):
        """A run was clicked twice."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows: list[Row] = []
        self._marks: dict[str, tuple[str, str]] = {}
        self._columns: tuple[Column, ...] = COLUMNS
        self._name_width = 10

    @property
    def cursor(self) -> int:
        """The index of the selected run, -1 when it is not among the rows."""
        return next((i for i, row in enumerate(self.rows) if row.name == self.selected), -1)

    def show(self, rows: list[Row], marks: dict[str, tuple[str, str]]) -> None:
        """Show these rows; `marks` are (symbol, colour) of the runs that are drawn in the charts."""
        before = [(row, self._marks.get(row.name)) for row in self.rows]
        after = [(row, marks.get(row.name)) for row in rows]
        self.rows, self._marks = rows, marks
        # One line more for the head, which stands still while the rows scroll under it.
        self.virtual_size = Size(self.size.width, len(rows) + 1)
        if self._fit_columns():
            self.refresh()
            return
        for index in range(max(len(before), len(after))):
            if before[index : index + 1] != after[index : index + 1]:
                self._refresh_row(index)

    def _refresh_row(self, index: int) -> None:
        y = index + 1 - int(self.scroll_offset.y)
        if 1 <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    def _fit_columns(self) -> bool:
        """Choose the columns that leave the names room; returns whether anything changed."""
        width = self.scrollable_content_region.width
        longest = max((cell_len(reveal_control(row.name)) for row in self.rows), default=8)
        wanted = min(max(longest, 8), NAME_MAXIMUM)
        columns = list(COLUMNS)
        while columns and width - _width_of(columns) < min(wanted, 16):
            columns.remove(min(columns, key=lambda column: column.keep))
        name_width = max(4, min(width - _width_of(columns), max(wanted, 12)))
        changed = (tuple(columns), name_width) != (self._columns, self._name_width)
        self._columns, self._name_width = tuple(columns), name_width
        return changed

    def on_resize(self, event: Resize) -> None:
        self.virtual_size = Size(self.size.width, len(self.rows) + 1)
        self._fit_columns()
        self.refresh()
        self._show_cursor()

    def watch_selected(self, old: str, new: str) -> None:
        for index, row in enumerate(self.rows):
            if row.name in (old, new):
                self._refresh_row(index)
        self._show_cursor()

    def _show_cursor(self) -> None:
        index, height = self.cursor, self.size.height - 1
        if index < 0 or height < 1:
            return
        top = int(self.scroll_offset.y)
        if index < top:
            self.scroll_to(y=index, animate=False)
        elif index >= top + height:
            self.scroll_to(y=index - height + 1, animate=False)

    def action_move(self, by: int) -> None:
        if self.rows:
            index = min(max(self.cursor + by, 0), len(self.rows) - 1)
            self.post_message(self.Selected(self.rows[index].name))

    def action_page(self, by: int) -> None:
        self.action_move(by * max(1, self.size.height - 2))

    def on_click(self, event: Click) -> None:
        if event.y == 0:
            left = MARK_WIDTH + self._name_width
            order = "name" if MARK_WIDTH <= event.x < left else ""
            for column in self._columns:
                if left <= event.x <= left + column.width:
                    order = column.order
                left += column.width + 1
            if order:
                self.post_message(self.HeadClicked(order))
            return
        index = int(self.scroll_offset.y) + event.y - 1
        if 0 <= index < len(self.rows):
            self.post_message(self.Selected(self.rows[index].name))
            if event.chain == 2:
                self.post_message(self.Opened())

    def watch_symbols(self) -> None:
        self.refresh()

    watch_order = watch_reverse = watch_symbols

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        base = self.rich_style
        if y == 0:
            return self._head(width, base)
        index = int(self.scroll_offset.y) + y - 1
        if index >= len(self.rows):
            return Strip.blank(width, base)
        return self._row(self.rows[index], width, base)

    def _head(self, width: int, base: Style) -> Strip:
        style = part_style(self, "run-table--head", base)
        arrow = ("^" if self.reverse else "v") if self.symbols == "ascii" else ("▲" if self.reverse else "▼")
        text = " " * MARK_WIDTH + _cell(
            f"run{arrow if self.order == 'name' else ''}", self._name_width, False
        )
        for column in self._columns:
            title = f"{column.title}{arrow}" if column.order == self.order else column.title
            text += " " + _cell(title, column.width, column.right)
        return Strip([Segment(text, style)]).adjust_cell_length(width, style)

    def _row(self, row: Row, width: int, base: Style) -> Strip:
        ascii_only = self.symbols == "ascii"
        if row.name == self.selected:
            base = row_style(self, "run-table--cursor", base)
            pointer = ">" if ascii_only else "▸"
        else:
            pointer = " "
        mark, colour = self._marks.get(row.name, (" ", ""))
        mark_style = base + Style.parse(colour) if colour else base
        segments = [
            Segment(f"{pointer} ", base),
            Segment(f"{mark} ", mark_style),
            Segment(_cell(reveal_control(row.name), self._name_width, False), base),
        ]
        for column in self._columns:
            segments.append(Segment(" ", base))
            if column.title == "state":
                role = ROLES.get(row.state, "dim")
                style = part_style(self, f"run-table--{role}", base)
                text = f"{SYMBOLS.get(row.state, '??')[ascii_only]} {reveal_control(row.state)}"
            else:
                style, text = base, reveal_control(column.text(row))
                text = text.replace("–", "-") if ascii_only else text
            segments.append(Segment(_cell(text, column.width, column.right), style))
        return Strip(segments).adjust_cell_length(width, base)


def _width_of(columns: list[Column]) -> int:
    return MARK_WIDTH + sum(column.width + 1 for column in columns)


def _cell(text: str, width: int, right: bool) -> str:
    """Exactly `width` cells; what is cut ends in …"""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)
