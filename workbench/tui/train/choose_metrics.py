"""Choosing which metrics have a chart."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import SelectionList, Static
from textual.widgets.selection_list import Selection

from workbench.tui.commands import Command, bindings
from workbench.tui.text import reveal_control


class ChooseMetrics(ModalScreen[tuple[str, ...] | None]):
    """All metrics that the drawn runs have; dismisses with those chosen, None when left as they are."""

    DEFAULT_CSS = """
    ChooseMetrics { align: center middle; }
    ChooseMetrics > Vertical {
        width: 48; max-width: 100%; height: auto; max-height: 100%;
        border: round $primary; background: $surface;
    }
    ChooseMetrics SelectionList { height: auto; max-height: 16; border: none; background: $surface; }
    ChooseMetrics Static { height: 1; padding: 0 1; color: $text-muted; }
    """
    BINDINGS = bindings(
        Command("metrics.done", "escape,v,q", "done", "done", "Show these charts."),
    )

    def __init__(self, known: tuple[str, ...], chosen: tuple[str, ...]) -> None:
        super().__init__()
        self._known, self._chosen = known, chosen

    def compose(self) -> ComposeResult:
        from rich.text import Text

        with Vertical():
            yield Static("Charts: space shows or hides, esc is done", markup=False)
            yield SelectionList[str](
                *(Selection(Text(reveal_control(name)), name, name in self._chosen) for name in self._known)
            )

    def on_mount(self) -> None:
        self.query_one(SelectionList).focus()

    def action_done(self) -> None:
        chosen = set(self.query_one(SelectionList).selected)
        # In the order they had, so that what was first stays first.
        self.dismiss(tuple(name for name in self._known if name in chosen))
