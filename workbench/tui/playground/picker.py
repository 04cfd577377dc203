"""Choosing one of many by typing: what is typed filters, the arrows move, enter takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from workbench.tui.commands import Command, bindings
from workbench.tui.text import reveal_control
from workbench.tui.widgets.key_bar import KeyBar
from workbench.tui.widgets.pick_list import PickList
from workbench.tui.widgets.prompt import Prompt

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A line to choose; one without a value is only said."""

    title: str
    value: T | None
    about: str = ""
    group: str = ""

    def holds(self, words: Sequence[str]) -> bool:
        """Whether every word is in it."""
        text = f"{self.title} {self.about} {self.group}".casefold()
        return all(word in text for word in words)


class Picker(ModalScreen[T | None]):
    """The list; dismisses with the value of the line that was taken, or None."""

    HELP_TITLE = "Choosing"
    DEFAULT_CSS = """
    Picker { background: $background; }
    Picker #picker-title { height: 1; background: $panel; text-style: bold; padding: 0 1; }
    Picker PickList { height: 1fr; border: none; background: $background; padding: 0 1; }
    Picker PickList { text-wrap: nowrap; text-overflow: ellipsis; overflow-x: hidden; }
    Picker #picker-note { height: auto; max-height: 6; color: $text-muted; padding: 0 1; }
    """
    BINDINGS = bindings(
        Command("pick.down", "down,ctrl+n", "move(1)", "down", "Go to the next line.", False, True),
        Command("pick.up", "up", "move(-1)", "up", "Go to the line before.", False, True),
        Command("pick.page_down", "pagedown", "move(10)", "page", "Go ten lines down.", False, True),
        Command("pick.page_up", "pageup", "move(-10)", "page", "Go ten lines up.", False, True),
        Command("pick.take", "ctrl+j", "take", "take", "Take the line under the cursor; enter does too."),
        Command("pick.back", "escape", "back", "back", "Leave it as it is."),
        Command("pick.help", "f1", "app.help", "help", "Show every key.", footer=False),
    )

    def __init__(self, title: str, placeholder: str, entries: Sequence[Entry[T]] = ()) -> None:
        super().__init__()
        self._title, self._placeholder = title, placeholder
        self.entries: list[Entry[T]] = list(entries)
        self.shown: list[Entry[T]] = []
        self.at: T | None = None
        """The value that the cursor begins at."""
        self.note = ""
        """What stands under the list at first."""

    def compose(self) -> ComposeResult:
        yield Static(self._title, id="picker-title", markup=False)
        yield Prompt(self._placeholder, id="picker-words")
        yield PickList(compact=True)
        yield Static(self.note, id="picker-note", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        self.prompt.ask("")
        self.fill()

    @property
    def prompt(self) -> Prompt:
        """Where one types."""
        return self.query_one("#picker-words", Prompt)

    @property
    def options(self) -> PickList:
        """The list."""
        return self.query_one(PickList)

    def set_title(self, words: str) -> None:
        """Another title."""
        self.query_one("#picker-title", Static).update(words)

    def say(self, words: str) -> None:
        """A note under the list."""
        self.query_one("#picker-note", Static).update(reveal_control(words))

    def add(self, entries: Sequence[Entry[T]]) -> None:
        """Further lines."""
        self.entries += entries
        self.fill()

    def typed_entries(self, text: str) -> list[Entry[T]]:
        """Lines that what was typed makes itself, below those that match it."""
        return []

    def fill(self) -> None:
        """Show what matches, with the cursor where it was if that is still there."""
        words = self.prompt.value.casefold().split()
        before = self.chosen
        wanted = before.value if before is not None else self.at
        found = [entry for entry in self.entries if entry.holds(words)]
        self.shown = [*found, *self.typed_entries(self.prompt.value.strip())]
        options = self.options
        options.clear_options()
        options.add_options([Option(_words(entry), disabled=entry.value is None) for entry in self.shown])
        takable = [number for number, entry in enumerate(self.shown) if entry.value is not None]
        here = [number for number in takable if self.shown[number].value == wanted]
        first = here if here and not words else takable
        options.highlighted = first[0] if first else None

    @property
    def chosen(self) -> Entry[T] | None:
        """The line under the cursor."""
        place = self.options.highlighted
        return self.shown[place] if place is not None and place < len(self.shown) else None

    @on(Input.Changed, "#picker-words")
    def _typed(self, message: Input.Changed) -> None:
        message.stop()
        self.fill()

    @on(Input.Submitted, "#picker-words")
    def action_take(self) -> None:
        if self.chosen is not None:
            self.dismiss(self.chosen.value)

    @on(OptionList.OptionSelected)
    def _clicked(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        self.options.highlighted = message.option_index
        self.action_take()

    def action_move(self, by: int) -> None:
        takable = [number for number, entry in enumerate(self.shown) if entry.value is not None]
        if not takable:
            return
        place = self.options.highlighted
        here = takable.index(place) if place in takable else 0
        self.options.highlighted = takable[min(max(here + by, 0), len(takable) - 1)]

    def action_back(self) -> None:
        if self.prompt.value:
            self.prompt.value = ""
        else:
            self.dismiss(None)


def _words(entry: Entry[T]) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(reveal_control(entry.title), "bold" if entry.value is not None else "dim")
    if entry.about:
        text.append(f"  {reveal_control(entry.about)}", "dim")
    if entry.group:
        text.append(f"  {reveal_control(entry.group)}", "dim italic")
    return text
