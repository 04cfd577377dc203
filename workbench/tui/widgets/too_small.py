"""What a terminal without room for the interface shows, until it grows."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widget import Widget

from workbench.tui.commands import Command, bindings

MINIMUM = Size(60, 14)


class _Message(Widget):
    DEFAULT_CSS = "_Message { width: 100%; height: 100%; }"

    def render(self) -> Text:
        size = self.app.size
        sentences = (
            f"The terminal is too small: {size.width}×{size.height}.\n"
            f"Make it {MINIMUM.width}×{MINIMUM.height} or larger; q quits."
        )
        terse = f"too small: {size.width}×{size.height}\nneed {MINIMUM.width}×{MINIMUM.height}\nq quits"
        return Text(sentences if size.width >= 36 else terse, overflow="fold")


class TooSmall(ModalScreen[None]):
    """One clear message instead of a broken screen. Runs are not affected."""

    DEFAULT_CSS = "TooSmall { background: $background; }"
    BINDINGS = bindings(Command("small.quit", "q", "app.quit", "quit", "Leave; runs go on."))

    def compose(self) -> ComposeResult:
        yield _Message()


def fits(size: Size) -> bool:
    """Whether the interface has room in a terminal of this size."""
    return size.width >= MINIMUM.width and size.height >= MINIMUM.height
