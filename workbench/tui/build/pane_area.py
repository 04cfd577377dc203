"""The panes about a design: all of them where there is room, else the one that was asked for."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Container
from textual.widget import Widget

from workbench.tui.build.checkpoint import CheckpointTree
from workbench.tui.build.picture import Draw, Picture
from workbench.tui.widgets.text_lines import Line, plain

TITLES = {
    "drawing": "Layers",
    "attention": "Attention: who sees whom",
    "estimates": "Estimates",
    "checks": "Checks",
}


class PaneArea(Container):
    """Holds the panes; `-all` shows them together, `-opened` the checkpoint alone."""

    DEFAULT_CSS = """
    PaneArea { width: 1fr; height: 1fr; }
    PaneArea > * { display: none; }
    PaneArea > .-shown { display: block; }
    PaneArea.-all { layout: grid; grid-size: 2 3; grid-columns: 5fr 6fr; grid-rows: 1fr 22 9; }
    PaneArea.-all > Picture { display: block; }
    PaneArea.-all #estimates { row-span: 2; }
    PaneArea.-all #checks { column-span: 2; }
    PaneArea.-opened { layout: vertical; }
    PaneArea.-opened > Picture { display: none; }
    """

    def compose(self) -> ComposeResult:
        for pane in ("drawing", "estimates", "attention", "checks"):
            yield Picture(id=pane)
        yield CheckpointTree(id="checkpoint")

    @property
    def opened(self) -> CheckpointTree:
        """The opened checkpoint."""
        return self.query_one(CheckpointTree)

    @property
    def all_shown(self) -> bool:
        """Whether the panes stand side by side."""
        return self.has_class("-all")

    def pane(self, name: str) -> Widget:
        """The widget of a pane."""
        return self.query_one(f"#{name}")

    def show_pane(self, name: str) -> None:
        """Have this pane in sight."""
        for child in self.children:
            child.set_class(child.id == name, "-shown")
        self.set_class(name == "checkpoint", "-opened")

    def draw(self, name: str, draw: Draw) -> None:
        """Have a pane drawn by a function, under a title where it has no strip to say what it is."""

        def titled(width: int, height: int) -> list[Line]:
            if not self.all_shown:
                return draw(width, height)
            return [plain(TITLES[name], "title"), *draw(width, height - 1)]

        self.query_one(f"#{name}", Picture).draw(titled)
