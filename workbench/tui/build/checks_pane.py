"""The findings about a design as lines, each with the changes that would mend it."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.tui.build.canvas import spell
from workbench.tui.build.checks import Finding
from workbench.tui.text import reveal_control
from workbench.tui.widgets.text_lines import Line, plain

MARKS = {"wrong": ("✗", "bad"), "warn": ("!", "warn"), "note": ("·", "dim")}
KEYS = ("m", "M")
"""What applies the first and the second repair of the finding that comes first."""


def draw_findings(findings: Sequence[Finding], symbols: str) -> list[Line]:
    """One paragraph a finding; only those of the first that can be mended have keys."""
    if not findings:
        return [plain("Nothing is wrong with this shape.", "good")]
    first = mendable(findings)
    lines: list[Line] = []
    for finding in findings:
        mark, role = MARKS[finding.level]
        lines.append(((f"{mark} ", role), (_words(finding.message, symbols), role if role == "bad" else "")))
        for number, repair in enumerate(finding.repairs):
            key = f"{KEYS[number]} " if finding is first and number < len(KEYS) else "- "
            lines.append(((f"    {key}", "key"), (_words(repair.words, symbols), "good")))
    if symbols == "ascii":
        lines = [tuple((spell(text), role) for text, role in line) for line in lines]
    return lines


def mendable(findings: Sequence[Finding]) -> Finding | None:
    """The first finding that a repair is known for."""
    return next((finding for finding in findings if finding.repairs), None)


def _words(text: str, symbols: str) -> str:
    shown = reveal_control(text)
    return spell(shown) if symbols == "ascii" else shown
