"""Text that grows at its end, shown as it comes: only what is new is ever wrapped and drawn."""

from __future__ import annotations

from collections.abc import Iterable

from textual.geometry import Region, Size

from workbench.tui.text import reveal_control
from workbench.tui.widgets.text_lines import Line, Span, TextLines, wrap

ROWS_AHEAD = 3
"""Of the height of the widget, the part that stays empty below a growing text when it has scrolled."""


def literal(text: str) -> str:
    """Text as it is, its line breaks kept, control characters as pictures; tabs become blanks.

    Character by character, so that it does not matter where a stream cuts a text.
    """
    if text.isascii() and text.isprintable():
        return text
    parts = text.replace("\r\n", "\n").replace("\t", "    ").split("\n")
    return "\n".join(reveal_control(part) for part in parts)


def add_span(line: Line, text: str, role: str) -> Line:
    """A line with text added at its end."""
    if line and line[-1][1] == role:
        return (*line[:-1], (line[-1][0] + text, role))
    return (*line, (text, role))


def lines_of(spans: Iterable[Span]) -> list[Line]:
    """Spans with line breaks in them as lines."""
    lines: list[Line] = [()]
    for text, role in spans:
        first, *others = literal(text).split("\n")
        if first:
            lines[-1] = add_span(lines[-1], first, role)
        lines += [((part, role),) if part else () for part in others]
    return lines


class StreamLines(TextLines):
    """Lines to which text can be added. Rows that stand already stay as they are: breaking lines looks only
    ahead, so that adding in pieces comes out as adding at once."""

    HELP_TITLE = "Answer"
    # Rows that stand are not broken anew when the scroll bar comes: it has its place from the beginning.
    DEFAULT_CSS = "StreamLines { scrollbar-gutter: stable; }"

    def append(self, spans: Iterable[Span]) -> None:
        """Add text at the end."""
        lines = list(self.lines) or [()]
        rows = self._rows or [()]
        first_changed = len(rows) - 1
        width = max(1, self.scrollable_content_region.width)
        at_end = self.scroll_offset.y >= self.max_scroll_y
        for number, line in enumerate(lines_of(spans)):
            if number:
                lines.append(())
                rows.append(())
            for text, role in line:
                lines[-1] = add_span(lines[-1], text, role)
                rows[-1:] = wrap(add_span(rows[-1], text, role), width)
        self.lines, self._rows = lines, rows
        self._make_room(at_end)
        top = max(0, first_changed - int(self.scroll_offset.y))
        bottom = min(self.size.height, len(rows) - int(self.scroll_offset.y))
        if top < bottom:
            self.refresh(Region(0, top, self.size.width, bottom - top))

    def _make_room(self, at_end: bool) -> None:
        """Grow and scroll by several rows at once: each time the terminal is sent the whole widget, which at
        every new row is more than a slow link carries."""
        rows, height = len(self._rows), self.size.height
        if rows <= self.virtual_size.height:
            return
        room = height if rows <= height else rows + max(1, height // ROWS_AHEAD)
        self.virtual_size = Size(self.scrollable_content_region.width, room)
        if self.follow and at_end:
            self.scroll_end(animate=False)
