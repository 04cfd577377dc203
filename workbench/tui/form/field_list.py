"""The fields of a form, one line each: name, value, and either its type or what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.events import Click, Resize
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from workbench.tui.commands import Command, bindings
from workbench.tui.text import reveal_control
from workbench.tui.widgets.styles import part_style, row_style

if TYPE_CHECKING:
    from workbench.tui.form.draft import Draft
    from workbench.tui.form.schema import FormField


NARROW = 60
"""Columns below which there is room for names and values only."""


class FormList(ScrollView, can_focus=True):
    """Shows the fields of a draft that match; the cursor is always on a field."""

    HELP_TITLE = "Fields"
    DEFAULT_CSS = """
    FormList { height: 1fr; overflow-x: hidden; background: $background; color: $foreground; }
    FormList > .form-list--section { color: $text-primary; text-style: bold; }
    FormList > .form-list--cursor { background: $primary-muted; text-style: bold; }
    FormList > .form-list--changed { color: $accent; text-style: bold; }
    FormList > .form-list--dim { color: $text-muted; }
    FormList > .form-list--bad { color: $text-error; text-style: bold; }
    FormList:ansi > .form-list--cursor { background: ansi_default; text-style: reverse; }
    FormList:nocolor > .form-list--cursor { text-style: reverse; }
    """
    COMPONENT_CLASSES = {f"form-list--{part}" for part in ("section", "cursor", "changed", "dim", "bad")}
    BINDINGS = bindings(
        Command("form.down", "down,j", "move(1)", "down", "Go to the next field.", footer=False),
        Command("form.up", "up,k", "move(-1)", "up", "Go to the field before.", footer=False),
        Command("form.page_down", "pagedown", "page(1)", "page down", "Go a page down.", footer=False),
        Command("form.page_up", "pageup", "page(-1)", "page up", "Go a page up.", footer=False),
        Command("form.first", "home", "move(-100000)", "first", "Go to the first field.", footer=False),
        Command("form.last", "end", "move(100000)", "last", "Go to the last field.", footer=False),
        Command("form.section", "tab", "section(1)", "section", "Go to the next section.", footer=False),
        Command(
            "form.section_before", "shift+tab", "section(-1)", "back", "Go a section back.", footer=False
        ),
    )

    current: reactive[str] = reactive("")
    symbols: reactive[str] = reactive("braille")

    class Moved(Message):
        """The cursor is on another field."""

    class Opened(Message):
        """A field was clicked twice."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.draft: Draft | None = None
        self._fields: list[FormField] = []
        self._lines: list[FormField | str] = []
        self._group: Callable[[FormField], str] = lambda field: field.section

    @property
    def field(self) -> FormField | None:
        """The field under the cursor."""
        return next((field for field in self._fields if field.key == self.current), None)

    def show(
        self,
        draft: Draft,
        search: str,
        only_changed: bool,
        fields: Sequence[FormField] | None = None,
        group: Callable[[FormField], str] | None = None,
    ) -> None:
        """Show the fields of a draft that hold every word of `search`.

        `fields` are all those of a recipe where none are given; `group` is the heading a field stands
        under, its section if none is given.
        """
        from workbench.tui.form.schema import form_fields

        self.draft = draft
        self._group = group or (lambda field: field.section)
        words = search.lower().split()
        self._fields = [
            field
            for field in (form_fields() if fields is None else fields)
            if all(word in f"{field.key} {field.label} {field.help}".lower() for word in words)
            and (not only_changed or draft.changed(field) or field.key in draft.problems)
        ]
        # Fields whose name matches come before those whose help does.
        if words:
            self._fields.sort(
                key=lambda field: not all(word in f"{field.key} {field.label}".lower() for word in words)
            )
        self._lines = []
        for index, field in enumerate(self._fields):
            heading = self._group(field)
            if not words and (index == 0 or self._group(self._fields[index - 1]) != heading):
                self._lines.append(heading)
            self._lines.append(field)
        if self.field is None:
            self.current = self._fields[0].key if self._fields else ""
        self.virtual_size = Size(self.size.width, len(self._lines))
        self.refresh()
        self._show_cursor()
        # Once more when the list has its bar: without one it does not scroll.
        self.call_after_refresh(self._show_cursor)

    def on_resize(self, event: Resize) -> None:
        self.virtual_size = Size(self.size.width, len(self._lines))
        self.refresh()
        self._show_cursor()

    def watch_current(self) -> None:
        self.refresh()
        self._show_cursor()
        self.post_message(self.Moved())

    def _show_cursor(self) -> None:
        field = self.field
        if field is None or not self.size.height:
            return
        line, top, height = self._lines.index(field), int(self.scroll_offset.y), self.size.height
        # The name of the section above the first field belongs to it.
        above = line - 1 if line and isinstance(self._lines[line - 1], str) else line
        if above < top:
            self.scroll_to(y=above, animate=False)
        elif line >= top + height:
            self.scroll_to(y=line - height + 1, animate=False)

    def action_move(self, by: int) -> None:
        if self._fields:
            field = self.field
            index = self._fields.index(field) + by if field else 0
            self.current = self._fields[min(max(index, 0), len(self._fields) - 1)].key

    def action_page(self, by: int) -> None:
        self.action_move(by * max(1, self.size.height - 2))

    def action_section(self, by: int) -> None:
        sections = list(dict.fromkeys(self._group(field) for field in self._fields))
        field = self.field
        if field and sections:
            wanted = sections[(sections.index(self._group(field)) + by) % len(sections)]
            self.current = next(other.key for other in self._fields if self._group(other) == wanted)

    def on_click(self, event: Click) -> None:
        line = int(self.scroll_offset.y) + event.y
        if line < len(self._lines) and not isinstance(entry := self._lines[line], str):
            self.current = entry.key
            if event.chain == 2:
                self.post_message(self.Opened())

    def render_line(self, y: int) -> Strip:
        line, width, base = (
            int(self.scroll_offset.y) + y,
            self.scrollable_content_region.width,
            self.rich_style,
        )
        if line >= len(self._lines) or self.draft is None:
            nothing = " no field matches" if y == 0 and not self._lines and self.draft else ""
            return Strip([Segment(nothing, base)]).adjust_cell_length(width, base)
        entry = self._lines[line]
        if isinstance(entry, str):
            style = part_style(self, "form-list--section", base)
            return Strip([Segment(f" {entry}", style)]).adjust_cell_length(width, style)
        return self._field_line(entry, self.draft, width)

    def _field_line(self, field: FormField, draft: Draft, width: int) -> Strip:
        base = self.rich_style
        here = field.key == self.current
        if here:
            base = row_style(self, "form-list--cursor", base)

        def styled(part: str) -> Style:
            return part_style(self, f"form-list--{part}", base)

        ascii_only = self.symbols == "ascii"
        changed, problem = draft.changed(field), draft.problems.get(field.key, "")
        pointer = (">" if ascii_only else "▸") if here else " "
        mark = ("!" if ascii_only else "✗") if problem else "*" if changed else " "
        name_width, value_width = _widths(width)
        dotted = self._lines[0] is self._fields[0]
        name = field.label or (f"{field.section}.{field.name}" if dotted else field.name)
        empty = "-" if ascii_only else "–"
        value = reveal_control(draft.text(field)) or empty
        if field.kind == "choice":
            value = f"< {value} >" if ascii_only else f"‹ {value} ›"
        elif field.kind == "bool":
            on = value == "true"
            value = f"[{'x' if on else ' '}] {'on' if on else 'off'}"
        if width < NARROW:
            name_width, value_width = _shared(cell_len(name), cell_len(value), width)
        about = reveal_control(problem) if problem else field.type_words
        segments = [
            Segment(f"{pointer}{mark} ", styled("bad" if problem else "changed") if mark != " " else base),
            Segment(_cell(name, name_width), base),
            Segment(" ", base),
            Segment(_cell(value, value_width), styled("changed") if changed else base),
            Segment(" ", base),
            Segment(about, styled("bad") if problem else styled("dim")),
        ]
        return Strip(segments).crop(0, width).adjust_cell_length(width, base)


def _widths(width: int) -> tuple[int, int]:
    """Cells of name and value, beside what else stands in a line."""
    return min(34, max(24, width // 3)), max(12, min(40, width // 3))


def _shared(name: int, value: int, width: int) -> tuple[int, int]:
    """Cells of a name and a value of these lengths in a line that has room for nothing else.

    Values stand in one column, but what the one does not need the other may take.
    """
    room = width - 4
    column = min(27, room - 9)
    begins = min(column, max(name, room - value)) if value > room - column else column
    begins = max(begins, min(name, room - value))
    return begins, room - begins


def _cell(text: str, width: int) -> str:
    length = cell_len(text)
    return set_cell_size(text, width - 1) + "…" if length > width else text + " " * (width - length)
