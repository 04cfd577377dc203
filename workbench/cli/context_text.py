"""Evaluations on long text for a terminal: the lines of the Train tab, in its colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.store.long_context import Result

STYLES = {"title": "bold", "dim": "dim", "key": "cyan", "good": "green", "warn": "yellow", "bad": "red"}


def page(results: Sequence[Result]) -> str:
    """The results beside each other."""
    from workbench.cli import render
    from workbench.tui.train.long_context_report import report_lines

    symbols = "braille" if render.has_unicode() else "ascii"
    lines = report_lines(results, symbols, render.columns())
    painted = [
        "".join(render.style(render.literal(text), STYLES.get(role, "")) for text, role in line)
        for line in lines
    ]
    text = "\n".join(line.rstrip() for line in painted)
    return text if render.has_unicode() else text.replace("×", "x").replace("±", "+-").replace("…", "...")
