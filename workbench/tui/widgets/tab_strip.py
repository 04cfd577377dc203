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
        padding = self._padding
        base = self.rich_style
        active = row_style(self, "tab-strip--active", base)
        key_style = part_style(self, "tab-strip--key", base)
        text = Text(no_wrap=True, end="")
        for choice, key, label in self._fitting:
            style = active if choice == self.active else base
            text.append(" " * padding, style)
            text.append(f"{key} " if label else key, active if choice == self.active else key_style)
            text.append(label + " " * padding, style)
            text.append(" ")
        note = self.note if len(text) + len(self.note) < width else ""
        text.append(" " * max(0, width - len(text) - len(note) - 1) + note)
        text.truncate(width)
        return text

    @property
    def _padding(self) -> int:
        return 1 if _width(self._choices, 1) <= self.size.width else 0

    @property
    def _fitting(self) -> list[tuple[str, str, str]]:
        """The choices; where there is no room for all names, the last ones are their keys alone."""
        choices = list(self._choices)
        for index in range(len(choices) - 1, -1, -1):
            if _width(choices, self._padding) <= self.size.width:
                break
            choice, key, _ = choices[index]
            if choice != self.active:
                choices[index] = (choice, key, "")
        return choices

    def on_click(self, event: Click) -> None:
        left = 0
        for choice, key, label in self._fitting:
            right = left + _width([(choice, key, label)], self._padding)
            if left <= event.x < right:
                self.post_message(self.Picked(self, choice))
                return
            left = right


def _width(choices: list[tuple[str, str, str]], padding: int) -> int:
    """Columns that choices take, with the blank behind each."""
    return sum(len(key) + (len(label) + 1 if label else 0) + 1 + 2 * padding for _, key, label in choices)
