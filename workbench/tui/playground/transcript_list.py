"""The items of an evaluation, one line each; only those on screen are ever read from disk."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from rich.segment import Segment
from textual.events import Click, Resize
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from workbench.errors import WorkbenchError
from workbench.store.transcripts import Transcripts
from workbench.tui.commands import Command, bindings
from workbench.tui.playground.transcript import title_line
from workbench.tui.widgets.styles import part_style, row_style
from workbench.tui.widgets.text_lines import ROLES

KEPT = 256


class TranscriptList(ScrollView, can_focus=True):
    """Shows transcripts, all or some by number; the cursor is on one."""

    HELP_TITLE = "Transcripts"
    DEFAULT_CSS = """
    TranscriptList { overflow-x: hidden; background: $background; color: $foreground; }
    TranscriptList > .transcript-list--cursor { background: $primary-muted; text-style: bold; }
    TranscriptList > .transcript-list--dim { color: $text-muted; }
    TranscriptList > .transcript-list--good { color: $text-success; }
    TranscriptList > .transcript-list--warn { color: $text-warning; }
    TranscriptList > .transcript-list--bad { color: $text-error; text-style: bold; }
    TranscriptList:ansi > .transcript-list--cursor { background: ansi_default; text-style: reverse; }
    TranscriptList:nocolor > .transcript-list--cursor { text-style: reverse; }
    """
    COMPONENT_CLASSES = {f"transcript-list--{part}" for part in ("cursor", *ROLES)}
    BINDINGS = bindings(
        Command("transcripts.down", "down,j", "move(1)", "down", "Go to the next item.", footer=False),
        Command("transcripts.up", "up,k", "move(-1)", "up", "Go to the item before.", footer=False),
        Command("transcripts.page_down", "pagedown", "page(1)", "page", "Go a page down.", footer=False),
        Command("transcripts.page_up", "pageup", "page(-1)", "page", "Go a page up.", footer=False),
        Command("transcripts.first", "home", "move(-100000000)", "first", "Go to the first.", footer=False),
        Command("transcripts.last", "end", "move(100000000)", "last", "Go to the last.", footer=False),
    )

    cursor: reactive[int] = reactive(0)

    class Moved(Message):
        """The cursor is on another item."""

    def __init__(self) -> None:
        super().__init__()
        self._transcripts: Transcripts | None = None
        self._numbers: Sequence[int] = ()
        self._read = lru_cache(KEPT)(self._read_now)

    def show(self, transcripts: Transcripts, numbers: Sequence[int]) -> None:
        """Show the items of these numbers."""
        self._transcripts, self._numbers = transcripts, numbers
        self._read.cache_clear()
        self.virtual_size = Size(self.size.width, len(numbers))
        self.cursor = min(self.cursor, max(0, len(numbers) - 1))
        self.refresh()
        self.post_message(self.Moved())

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def transcript(self) -> dict[str, Any]:
        """The one under the cursor, empty where there is none."""
        return self._read(self._numbers[self.cursor]) if self.cursor < len(self._numbers) else {}

    def _read_now(self, number: int) -> dict[str, Any]:
        assert self._transcripts is not None
        try:
            return self._transcripts.read(number)
        except WorkbenchError as error:
            return {"question": error.message}

    def on_resize(self, event: Resize) -> None:
        self.virtual_size = Size(event.size.width, len(self._numbers))
        self._show_cursor()

    def watch_cursor(self) -> None:
        self._show_cursor()
        self.refresh()
        self.post_message(self.Moved())

    def _show_cursor(self) -> None:
        top, height = int(self.scroll_offset.y), max(1, self.size.height)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False)

    def action_move(self, by: int) -> None:
        self.cursor = min(max(self.cursor + by, 0), max(0, len(self._numbers) - 1))

    def action_page(self, by: int) -> None:
        self.action_move(by * max(1, self.size.height - 1))

    def on_click(self, event: Click) -> None:
        self.action_move(int(self.scroll_offset.y) + event.y - self.cursor)

    def render_line(self, y: int) -> Strip:
        place, width, base = int(self.scroll_offset.y) + y, self.size.width, self.rich_style
        if place >= len(self._numbers):
            return Strip.blank(width, base)
        if place == self.cursor:
            base = row_style(self, "transcript-list--cursor", base)
        segments = [
            Segment(text, part_style(self, f"transcript-list--{role}", base) if role else base)
            for text, role in title_line(self._read(self._numbers[place]))
        ]
        return Strip(segments).crop(0, width).adjust_cell_length(width, base)
