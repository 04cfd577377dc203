"""One line of named choices, each behind its key: the tabs of the app, the panes of a tab."""

from __future__ import annotations

from rich.text import Text
from textual.events import Click
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from workbench.tui.widgets.styles import part_style, row_style


class TabStrip(Widget):
    """Shows `choices` as “key label”, the active one marked, and a note at the right end."""

    DEFAULT_CSS = """
    TabStrip {
        height: 1;
        background: $panel;
        color: $text-muted;
    }
    """
    COMPONENT_CLASSES = {"tab-strip--active", "tab-strip--key"}
    DEFAULT_CSS += """
    TabStrip > .tab-strip--active { background: $primary; color: $text; text-style: bold; }
    TabStrip > .tab-strip--key { color: $accent; text-style: bold; }
    TabStrip:ansi > .tab-strip--active { background: ansi_blue; color: ansi_bright_white; }
    TabStrip:nocolor > .tab-strip--active { text-style: bold reverse; }
    """

    active: reactive[str] = reactive("")
    note: reactive[str] = reactive("")

    class Picked(Message):
        """A choice was clicked."""

        def __init__(self, strip: TabStrip, choice: str) -> None:
            super().__init__()
            self.strip = strip
            self.choice = choice

        @property
        def control(self) -> TabStrip:
            return self.strip

    def __init__(
        self, choices: list[tuple[str, str, str]], *, active: str = "", id: str | None = None
    ) -> None:
        """`choices` are (id, key, label)."""
        super().__init__(id=id)
        self._choices = choices
        self.set_reactive(TabStrip.active, active)

    def set_choices(self, choices: list[tuple[str, str, str]]) -> None:
        """Replace the choices, redrawing only on a difference."""
        if choices != self._choices:
            self._choices = choices
            self.refresh()

    def render(self) -> Text:
        width = self.size.width
        padding = 1 if self._width_with(1) <= width else 0
        base = self.rich_style
        active = row_style(self, "tab-strip--active", base)
        key_style = part_style(self, "tab-strip--key", base)
        text = Text(no_wrap=True, end="")
        for choice, key, label in self._choices:
            style = active if choice == self.active else base
            text.append(" " * padding, style)
            text.append(f"{key} ", active if choice == self.active else key_style)
            text.append(label + " " * padding, style)
            text.append(" ")
        note = self.note if len(text) + len(self.note) < width else ""
        text.append(" " * max(0, width - len(text) - len(note) - 1) + note)
        text.truncate(width)
        return text

    def _width_with(self, padding: int) -> int:
        return sum(len(key) + len(label) + 2 + 2 * padding for _, key, label in self._choices)

    def on_click(self, event: Click) -> None:
        padding = 1 if self._width_with(1) <= self.size.width else 0
        left = 0
        for choice, key, label in self._choices:
            right = left + len(key) + len(label) + 2 + 2 * padding
            if left <= event.x < right:
                self.post_message(self.Picked(self, choice))
                return
            left = right
