"""The last line: which keys do something now, as many as fit, and always how to see them all."""

from __future__ import annotations

from rich.text import Text
from textual.events import Click
from textual.screen import Screen
from textual.widget import Widget

from workbench.tui.commands import ActiveCommand, active_commands
from workbench.tui.widgets.styles import part_style

FIRST = ("train.open", "train.back", "form.start")
ALWAYS = ("app.help", "app.quit")


class KeyBar(Widget):
    """A footer that leaves out what does not fit rather than scrolling sideways."""

    DEFAULT_CSS = """
    KeyBar { height: 1; background: $panel; color: $text-muted; dock: bottom; }
    KeyBar > .key-bar--key { color: $accent; text-style: bold; }
    """
    COMPONENT_CLASSES = {"key-bar--key"}

    def __init__(self) -> None:
        super().__init__()
        self._shown: list[tuple[str, str]] = []
        self._places: list[tuple[int, int, ActiveCommand]] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)

    def _bindings_changed(self, screen: Screen[object]) -> None:
        # The signal fires on every change of focus; the line often stays the same.
        if screen is self.app.screen and self._fitting() != self._shown:
            self.refresh()

    def _fitting(self) -> list[tuple[str, str]]:
        """(key, label) of the commands that fit, in order; fills `_places` for clicks."""
        commands = [
            command for command in active_commands(self.screen) if command.binding.show and command.enabled
        ]
        ends = [command for command in commands if command.binding.id in ALWAYS]
        middle = [command for command in commands if command.binding.id not in ALWAYS]
        # How to get further and back comes before what the focused widget has to offer.
        middle.sort(key=lambda command: command.binding.id not in FIRST)
        room = self.size.width - sum(self._width(command) for command in ends)
        chosen = []
        for command in middle:
            if self._width(command) > room:
                break
            room -= self._width(command)
            chosen.append(command)
        self._places, left = [], 0
        for command in [*chosen, *ends]:
            self._places.append((left, left + self._width(command), command))
            left += self._width(command)
        return [(self._key(command), _label(command)) for *_, command in self._places]

    @staticmethod
    def _key(command: ActiveCommand) -> str:
        return command.keys[0]

    def _width(self, command: ActiveCommand) -> int:
        return len(self._key(command)) + len(_label(command)) + 3

    def render(self) -> Text:
        self._shown = self._fitting()
        key_style = part_style(self, "key-bar--key", self.rich_style)
        text = Text(no_wrap=True, end="")
        for key, label in self._shown:
            text.append(f" {key}", key_style)
            text.append(f" {label} ")
        text.truncate(self.size.width)
        return text

    async def on_click(self, event: Click) -> None:
        for left, right, command in self._places:
            if left <= event.x < right:
                await self.app.run_action(command.binding.action, command.node)
                return


def _label(command: ActiveCommand) -> str:
    """The footer word, small as all others: widgets of other rooms write theirs as titles."""
    words = command.binding.description
    return words if words[1:2].isupper() else words[:1].lower() + words[1:]
