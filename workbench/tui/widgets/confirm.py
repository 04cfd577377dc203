"""A question with two answers: y or enter does it, anything that means no does not."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench.tui.commands import Command, bindings


class Confirm(ModalScreen[bool]):
    """Asks `question`, with `detail` on what will happen; dismisses with the answer."""

    DEFAULT_CSS = """
    Confirm { align: center middle; }
    Confirm > Vertical {
        width: 64; max-width: 100%; height: auto; max-height: 100%;
        border: round $warning; background: $surface; padding: 0 1;
    }
    Confirm Static { width: 100%; height: auto; }
    Confirm #question { text-style: bold; }
    Confirm #answers { color: $text-muted; margin-top: 1; }
    """
    BINDINGS = bindings(
        Command("confirm.yes", "y,enter", "answer(True)", "yes", "Do it."),
        Command("confirm.no", "n,escape,q", "answer(False)", "no", "Leave it as it is."),
    )

    def __init__(self, question: str, detail: str = "", verb: str = "yes") -> None:
        super().__init__()
        self._question, self._detail, self._verb = question, detail, verb

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._question, id="question", markup=False)
            if self._detail:
                yield Static(self._detail, id="detail", markup=False)
            yield Static(f"y / enter  {self._verb}      n / esc  cancel", id="answers", markup=False)

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)
