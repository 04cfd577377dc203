"""Asking the process that inspects data and models, with a line on a terminal that says how far it is."""

from __future__ import annotations

from typing import Any

from workbench.cli.prediction import ProgressLine
from workbench.store.inspector import Inspector


def ask(inspector: Inspector, do: str, *, debug: bool = False, **arguments: Any) -> dict[str, Any]:
    """The answer to a request, or the error that it ended with; `debug` shows what the process printed."""
    line = ProgressLine()

    def progress(what: str, done: int, total: int | None) -> None:
        line.show({"what": what, "done": done, "total": total})

    try:
        return inspector.request(do, progress=progress, **arguments)
    finally:
        line.clear()
        if debug and inspector.log:
            from workbench.cli import render

            render.talk(render.literal(inspector.log, keep_lines=True))
