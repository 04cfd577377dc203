"""A pane that is drawn for its size, and drawn again when the size or the design is another."""

from __future__ import annotations

from collections.abc import Callable

from textual.events import Resize

from workbench.tui.widgets.text_lines import Line, TextLines

Draw = Callable[[int, int], list[Line]]
"""What to show in so many columns and rows."""

SHADES = ("one", "two", "three", "four", "five", "six", "seven")
"""Roles of the parts of a bar: the colours of the charts."""


class Picture(TextLines):
    """Lines that a function draws for the present width and height; they scroll where they are too many."""

    HELP_TITLE = "Pane"
    DEFAULT_CSS = """
    Picture { padding: 0 1; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    Picture > .text-lines--line { color: $text-muted; }
    Picture > .text-lines--arrow { color: $accent; }
    Picture > .text-lines--one { color: #3d9df3; }
    Picture > .text-lines--two { color: #f39c34; }
    Picture > .text-lines--three { color: #2fbf71; }
    Picture > .text-lines--four { color: #e8578f; }
    Picture > .text-lines--five { color: #a184f2; }
    Picture > .text-lines--six { color: #d8b21c; }
    Picture > .text-lines--seven { color: #1fb8b0; }
    Picture:ansi > .text-lines--one { color: ansi_bright_cyan; }
    Picture:ansi > .text-lines--two { color: ansi_bright_yellow; }
    Picture:ansi > .text-lines--three { color: ansi_bright_green; }
    Picture:ansi > .text-lines--four { color: ansi_bright_magenta; }
    Picture:ansi > .text-lines--five { color: ansi_bright_blue; }
    Picture:ansi > .text-lines--six { color: ansi_bright_red; }
    Picture:ansi > .text-lines--seven { color: ansi_white; }
    Picture:focus > .text-lines--title { text-style: bold underline; }
    """
    COMPONENT_CLASSES = {f"text-lines--{role}" for role in ("line", "arrow", *SHADES)}

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._draw: Draw | None = None

    def draw(self, draw: Draw) -> None:
        """Show what this function draws from now on."""
        self._draw = draw
        self._redraw()

    def on_resize(self, event: Resize) -> None:
        self._redraw()

    def _redraw(self) -> None:
        region = self.scrollable_content_region
        # A pane that is hidden has no size; it draws when it is shown and gets one.
        if self._draw is not None and region.width > 0 and region.height > 0:
            self.set_lines(self._draw(region.width, region.height))
