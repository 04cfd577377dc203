"""A call that a model wants to make, and the keys that let it or do not."""

from __future__ import annotations

from rich.text import Text
from textual.message import Message
from textual.widgets import Static

from workbench.tui.commands import Command, bindings
from workbench.tui.playground.column import Column
from workbench.tui.text import reveal_control

LONGEST = 400


class ToolQuestion(Static, can_focus=True):
    """Shown under the head of a column while a call waits to be allowed."""

    HELP_TITLE = "Tool"
    DEFAULT_CSS = """
    ToolQuestion { display: none; height: auto; max-height: 6; padding: 0 1; background: $surface; }
    ToolQuestion { color: $text-warning; }
    ToolQuestion.-asked { display: block; }
    ToolQuestion:focus { text-style: bold; }
    """
    BINDINGS = bindings(
        Command("allow.yes", "y", "answer(True)", "allow", "Let the tool be called."),
        Command("allow.no", "n", "answer(False)", "refuse", "Do not let the tool be called."),
        Command("allow.all", "A", "answer(True, True)", "allow all", "Allow every call of this answer."),
    )

    class Answered(Message):
        """A person has decided; `always` is meant for all further calls of the same answer too."""

        def __init__(self, column: Column, allowed: bool, always: bool) -> None:
            super().__init__()
            self.column, self.allowed, self.always = column, allowed, always

    def __init__(self, column: Column) -> None:
        super().__init__("", markup=False)
        self.column = column

    def show(self) -> None:
        """Bring it in line with the column."""
        pending = self.column.pending
        self.set_class(pending is not None, "-asked")
        if pending is not None:
            call = reveal_control(f"{pending.name}({pending.arguments})")
            cut = call[:LONGEST] + "…" if len(call) > LONGEST else call
            self.update(Text(f"May it call {cut}?\ny yes · n no · A yes to all"))

    def action_answer(self, allowed: bool, always: bool = False) -> None:
        self.post_message(self.Answered(self.column, allowed, always))
