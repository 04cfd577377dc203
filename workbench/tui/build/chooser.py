"""What a design can start from: the user's presets, then each family with the presets of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text
from textual.widgets.option_list import Option

from workbench.errors import WorkbenchError
from workbench.recipe import Preset, list_presets, load_mapping
from workbench.recipe.families import FAMILIES
from workbench.tui.commands import Command, bindings
from workbench.tui.text import reveal_control
from workbench.tui.widgets.pick_list import PickList


@dataclass(frozen=True)
class Start:
    """One line of the list: `source` is what a `RecipeDraft` reads, `stem` what the design is called."""

    source: str
    stem: str
    title: str
    about: str = ""
    is_family: bool = False


def starts() -> list[Start]:
    """All there is to start from. A family starts at the smallest of its presets."""
    presets = list_presets("models")
    own = [preset for preset in presets if not preset.builtin]
    found = [
        Start(str(preset.path), preset.name, preset.name, f"yours · {preset.description}") for preset in own
    ]
    by_family: dict[str, list[Preset]] = {name: [] for name in FAMILIES}
    for preset in presets:
        if preset.builtin and (name := _family_of(preset)) in by_family:
            by_family[name].append(preset)
    for family in FAMILIES.values():
        of_it = by_family[family.name]
        if of_it:
            words = f"{family.kind} · {family.source}"
            found.append(Start(f"models/{of_it[0].name}", family.name, family.title, words, True))
        found += [
            Start(f"models/{preset.name}", preset.name, preset.name, preset.description) for preset in of_it
        ]
    return found


def _family_of(preset: Preset) -> str:
    try:
        model = load_mapping(str(preset.path)).get("model")
    except WorkbenchError:
        return ""
    return str(model.get("family", "llama")) if isinstance(model, dict) else "llama"


class Chooser(PickList):
    """The list; `enter` on a line opens the form on it."""

    HELP_TITLE = "Presets"
    DEFAULT_CSS = """
    Chooser { height: 1fr; border: none; background: $background; padding: 0 1; }
    Chooser { text-wrap: nowrap; text-overflow: ellipsis; overflow-x: hidden; scrollbar-size-vertical: 1; }
    Chooser:focus { border: none; background: $background; }
    """
    BINDINGS = bindings(
        Command("chooser.choose", "enter", "select", "choose", "Open the form on this shape."),
    )

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, compact=True)
        self.starts: list[Start] = []

    @property
    def start(self) -> Start | None:
        """The line under the cursor."""
        return self.starts[self.highlighted] if self.highlighted is not None and self.starts else None

    def go_to(self, words: str) -> None:
        """The first line, from the present one on, that holds every word; stays where there is none."""
        wanted, here = words.lower().split(), self.highlighted or 0
        for place in [*range(here, len(self.starts)), *range(here)]:
            start = self.starts[place]
            text = f"{start.title} {start.about}".lower()
            if all(word in text for word in wanted):
                self.highlighted = place
                return

    def show(self, found: Sequence[Start], at: Start | None = None) -> None:
        """Show these, with the cursor on `at` if it is there."""
        self.starts = list(found)
        self.clear_options()
        for start in found:
            text = Text(no_wrap=True, overflow="ellipsis")
            if start.is_family:
                text.append(start.title, "bold")
                text.append(f"  {start.about}", "dim")
            else:
                text.append("  " + reveal_control(start.title))
                text.append(f"  {reveal_control(start.about)}", "dim")
            self.add_option(Option(text))
        self.highlighted = self.starts.index(at) if at in self.starts else 0 if self.starts else None
