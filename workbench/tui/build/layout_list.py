"""The list of layouts, and what they are looked for."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.tui.widgets.pick_list import PickList


@dataclass(frozen=True)
class Asked:
    """What layouts are looked for."""

    gpu: str
    gpus: int
    batch: int | None = None
    length: int | None = None


class LayoutList(PickList):
    """The layouts, those that fit first."""

    HELP_TITLE = "Layouts"
    DEFAULT_CSS = """
    LayoutList { height: 1fr; border: none; background: $background; padding: 0 1; }
    LayoutList { text-wrap: nowrap; overflow-x: hidden; scrollbar-size-vertical: 1; }
    LayoutList:focus { border: none; background: $background; }
    """
