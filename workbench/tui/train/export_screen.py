"""Choosing how a run's model is written for other programs, and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from workbench import paths
from workbench.store.exporter import FORMATS
from workbench.tui.commands import Command, bindings
from workbench.tui.text import reveal_control
from workbench.tui.widgets.pick_list import PickList

WORDS = {"auto": "as stored", "q8_0": "q8_0, 8.5 bits a number"}
CHOICES = (
    *(("safetensors", dtype) for dtype in ("auto", "bf16")),
    *(("gguf", dtype) for dtype in ("q8_0", "f16", "auto")),
    *(("ollama", dtype) for dtype in ("q8_0", "f16", "auto")),
)


@dataclass(frozen=True)
class ExportChoice:
    """What was chosen; `folder` as it was typed."""

    format: str
    dtype: str
    folder: str


class ExportScreen(ModalScreen[ExportChoice | None]):
    """Formats and number formats, and the folder to make; dismisses with the choice, or None."""

    HELP_TITLE = "Export"
    DEFAULT_CSS = """
    ExportScreen { align: center middle; }
    ExportScreen > Vertical {
        width: 76; max-width: 100%; height: auto; max-height: 100%;
        border: round $primary; background: $surface; padding: 0 1;
    }
    ExportScreen #export-title { text-style: bold; }
    ExportScreen PickList { height: auto; max-height: 10; border: none; background: $surface; padding: 0; }
    ExportScreen Input { background: $panel; }
    ExportScreen .dim { color: $text-muted; }
    """
    BINDINGS = bindings(
        Command("export.back", "escape", "back", "back", "Export nothing."),
        Command("export.help", "f1", "app.help", "help", "Show every key.", footer=False),
    )

    def __init__(self, run: str) -> None:
        super().__init__()
        self._run, self._suggested = run, ""

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(f"Export {reveal_control(self._run)}", id="export-title", markup=False)
            yield PickList(*(Option(_label(*choice)) for choice in CHOICES), compact=True)
            yield Static(id="export-about", classes="dim", markup=False)
            yield Input(id="export-folder", compact=True, select_on_focus=False)
            yield Static("enter export   tab folder, format   esc cancel", classes="dim", markup=False)

    def on_mount(self) -> None:
        self._suggest(CHOICES[0][0])
        self.query_one(PickList).highlighted = 0
        self.query_one(PickList).focus()

    def _suggest(self, format: str) -> None:
        """A folder for a format, unless one was typed."""
        field = self.query_one(Input)
        if field.value == self._suggested:
            folder = paths.home() / "exports" / f"{self._run}-{format}"
            short = folder.is_relative_to(Path.home())
            self._suggested = f"~/{folder.relative_to(Path.home())}" if short else str(folder)
            field.value = self._suggested

    @on(OptionList.OptionHighlighted)
    def _moved(self, message: OptionList.OptionHighlighted) -> None:
        format = CHOICES[message.option_index][0]
        self._suggest(format)
        self.query_one("#export-about", Static).update(f"{FORMATS[format]}, in the folder")

    @on(OptionList.OptionSelected)
    @on(Input.Submitted)
    def _take(self) -> None:
        number, folder = self.query_one(PickList).highlighted or 0, self.query_one(Input).value.strip()
        if folder:
            self.dismiss(ExportChoice(*CHOICES[number], folder))
        else:
            self.query_one(Input).focus()

    def action_back(self) -> None:
        self.dismiss(None)


def _label(format: str, dtype: str) -> Text:
    return Text(f"{format:<12}{WORDS.get(dtype, dtype)}")
