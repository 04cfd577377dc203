"""A list to choose from whose cursor is seen in any terminal."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widgets import OptionList

from workbench.tui.commands import Command, bindings


class PickList(OptionList):
    """Textual's list marks its cursor by colours alone, of which there may be none, or few."""

    HELP_TITLE = "List"
    BINDINGS = bindings(
        Command("list.down", "j", "cursor_down", "down", "Go to the next line.", footer=False),
        Command("list.up", "k", "cursor_up", "up", "Go to the line before.", footer=False),
    )

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        plain = self.app.no_color or self.app.native_ansi_color
        if plain and int(self.scroll_offset.y) + y == self.highlighted:
            return Strip([Segment(strip.text, Style(reverse=True, bold=True))])
        return strip
