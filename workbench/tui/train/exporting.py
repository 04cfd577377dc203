"""Exports from the interface, one at a time, each in a process that ends with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import App

from workbench.errors import WorkbenchError
from workbench.store.exporter import exported, exporter
from workbench.store.inspector import Inspector, RequestCancelled
from workbench.store.runs import Run
from workbench.tui.notices import notify, notify_error
from workbench.tui.text import short_bytes

if TYPE_CHECKING:
    from workbench.tui.train.export_screen import ExportChoice


class Exports:
    """What is exported now."""

    def __init__(self) -> None:
        self._child: Inspector | None = None

    @property
    def busy(self) -> bool:
        """Whether one is under way."""
        return self._child is not None

    def run(self, app: App[None], run: Run, choice: ExportChoice) -> None:
        """Export, and say how it went. Blocks: to be called in a thread."""
        self._child = child = exporter()
        try:
            with child:
                told = exported(
                    child, str(run.path), format=choice.format, to=choice.folder, dtype=choice.dtype
                )
        except RequestCancelled:
            return
        except WorkbenchError as error:
            notify_error(app, error)
            return
        finally:
            self._child = None
        size = short_bytes(sum(file["bytes"] for file in told["files"]))
        notify(app, "\n".join([f"Exported {run.name}: {size} in {told['folder']}", *told["notes"]]))

    def end(self) -> None:
        """End what is under way; it leaves nothing half-written."""
        if self._child is not None:
            self._child.cancel()
