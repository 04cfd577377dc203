"""What was asked, above the answers: as much of it as they leave room for, a line, or most of the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from workbench.tui.rank.lines import Lines
from workbench.tui.widgets.text_lines import Line, wrap

Amount = Literal["some", "all", "line"]
AMOUNTS: tuple[Amount, ...] = ("some", "all", "line")
SHARES: dict[Amount, float] = {"some": 0.25, "all": 0.6, "line": 0.0}
"""The part of the screen that it may take in any case."""
FRAME = 3
"""Cells that hold no text: a blank on each side and the scroll bar."""


class PromptText(Lines, can_focus=False, inherit_bindings=False):
    """Lines of a height that follows from what is in them."""

    DEFAULT_CSS = "PromptText { height: 1; padding: 0 1; scrollbar-size-vertical: 1; }"

    amount: Amount = "some"

    def turn(self) -> None:
        """Show more of it, or less."""
        self.amount = AMOUNTS[(AMOUNTS.index(self.amount) + 1) % len(AMOUNTS)]

    def show(self, lines: Sequence[Line], width: int, height: int, left: int, most: int) -> None:
        """Show these in a screen of a size, of which the answers leave so many rows, and could leave most."""
        inner = max(8, width - FRAME)
        rows = sum(len(wrap(line, inner)) if line else 1 for line in lines)
        room = round(SHARES[self.amount] * height)
        if self.amount == "some":
            room = max(room, left)
        self.styles.height = max(1, min(rows, room, most))
        self.set_lines(lines)

    def look_at(self, *, end: bool) -> None:
        """Show its end, or its beginning."""
        self.scroll_to(y=self.max_scroll_y if end else 0, animate=False)

    def scroll_rows(self, rows: int) -> None:
        """Scroll it."""
        self.scroll_to(y=self.scroll_offset.y + rows, animate=False)
