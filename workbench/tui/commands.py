"""A command is one record: its key, footer word, help sentence and palette entry together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.screen import Screen

REGISTRY: dict[str, str] = {}
"""The keys of all commands defined so far, by id."""

MOVEMENTS = ("table.", "text.")
"""Groups of commands that nobody would look for by name."""


@dataclass(frozen=True)
class Command:
    """What a key does. `id` is what `keys.yaml` names it by."""

    id: str
    key: str
    action: str
    label: str
    help: str
    footer: bool = True
    priority: bool = False

    def __post_init__(self) -> None:
        REGISTRY[self.id] = self.key

    def binding(self) -> Binding:
        """The Textual binding of this command; its tooltip carries the help sentence."""
        return Binding(
            self.key,
            self.action,
            self.label,
            show=self.footer,
            priority=self.priority,
            tooltip=self.help,
            id=self.id,
        )


def bindings(*commands: Command) -> list[BindingType]:
    """The `BINDINGS` of a widget, screen or app with these commands."""
    return [command.binding() for command in commands]


@dataclass
class ActiveCommand:
    """A command that a key reaches now, with all keys that reach it."""

    keys: list[str]
    binding: Binding
    node: DOMNode
    enabled: bool


def active_commands(screen: Screen[object]) -> list[ActiveCommand]:
    """What works now, the focused widget's commands first."""
    found: dict[tuple[str, str], ActiveCommand] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if binding.system or not binding.description:
            continue
        key = screen.app.get_key_display(binding)
        known = found.setdefault(
            (binding.id or binding.action, binding.description),
            ActiveCommand([], binding, active.node, active.enabled),
        )
        known.keys.append(key)
    return list(found.values())


def palette_entries(app: App[None], screen: Screen[object]) -> Iterator[SystemCommand]:
    """The command palette: whatever a key reaches now, under its help sentence."""
    for command in active_commands(screen):
        moves = (command.binding.id or "").startswith(MOVEMENTS)
        if moves or not (command.enabled and command.binding.tooltip):
            continue
        action, node = command.binding.action, command.node

        async def run(action: str = action, node: DOMNode = node) -> None:
            await app.run_action(action, node)

        title = f"{command.binding.tooltip.rstrip('.')}  ({', '.join(command.keys)})"
        yield SystemCommand(title, command.binding.id or "", run)
