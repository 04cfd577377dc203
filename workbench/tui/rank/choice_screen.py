"""A few things to choose one of, each with a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from workbench.tui.commands import Command, bindings
from workbench.tui.text import reveal_control
from workbench.tui.widgets.pick_list import PickList


class ChoiceScreen(ModalScreen[str | None]):
    """Asks for one of `choices` (id, name, sentence); dismisses with its id, or None."""

    HELP_TITLE = "Choice"
    DEFAULT_CSS = """
    ChoiceScreen { align: center middle; }
    ChoiceScreen > Vertical {
        width: 76; max-width: 100%; height: auto; max-height: 100%;
        border: round $primary; background: $surface; padding: 0 1;
    }
    ChoiceScreen Static { width: 100%; height: auto; text-style: bold; }
    ChoiceScreen PickList { height: auto; max-height: 16; background: $surface; padding: 0; }
    ChoiceScreen PickList, ChoiceScreen PickList:focus { border: none; }
    """
    BINDINGS = bindings(
        Command("choice.back", "escape,q", "back", "back", "Choose none of them."),
    )

    def __init__(self, title: str, choices: Sequence[tuple[str, str, str]]) -> None:
        super().__init__()
        self._title, self._choices = title, choices

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(f"{reveal_control(self._title)} · enter chooses, esc leaves", markup=False)
            yield PickList(*(Option(_row(name, about)) for _, name, about in self._choices))

    def on_mount(self) -> None:
        options = self.query_one(PickList)
        options.highlighted = 0
        options.focus()

    @on(OptionList.OptionSelected)
    def _chosen(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        self.dismiss(self._choices[message.option_index][0])

    def action_back(self) -> None:
        self.dismiss(None)


def _row(name: str, about: str) -> Text:
    text = Text(name, "bold")
    text.append(f"\n  {about}", "not bold")
    return text
