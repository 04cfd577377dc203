"""Bars of text: one value against a scale, parts of a whole, with a mark where a limit is."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.tui.build.canvas import fit
from workbench.tui.build.picture import SHADES
from workbench.tui.widgets.text_lines import Line, Span

EIGHTHS = " ▏▎▍▌▋▊▉"
LABEL = 15


def bar(label: str, value: float, largest: float, words: str, width: int, symbols: str, role: str) -> Line:
    """`label ████▌   words`; the bar is as long as the value is of the largest."""
    room = max(4, width - LABEL - 1 - max(12, len(words)) - 1)
    share = min(1.0, value / largest) if largest > 0 else 0.0
    if symbols == "ascii":
        filled = "#" * round(share * room)
    else:
        whole, part = divmod(round(share * room * 8), 8)
        filled = "█" * whole + (EIGHTHS[part] if part else "")
    return (
        (f"{fit(label, LABEL, symbols):<{LABEL}} ", "key"),
        (f"{filled:<{room}}", role),
        (f" {words}", ""),
    )


def stacked(
    parts: Mapping[str, float], limit: float, words: str, width: int, symbols: str
) -> tuple[Line, Line]:
    """One bar of all parts on a scale that holds them and the limit, and a line below with its mark."""
    total = sum(parts.values())
    scale = max(total, limit, 1)
    spans: list[Span] = []
    # Neighbours can be told apart without colour too.
    letters = "#=+*%o-" if symbols == "ascii" else "█▓"
    used, reached = 0, 0.0
    for number, value in enumerate(parts.values()):
        reached += value
        end = round(reached / scale * width)
        if end > used:
            letter = letters[number % len(letters)]
            spans.append((letter * (end - used), SHADES[number % len(SHADES)]))
            used = end
    place = min(width - 1, round(limit / scale * width))
    spans.append((("." if symbols == "ascii" else "░") * (width - used), "dim"))
    mark = "^" if symbols == "ascii" else "▲"
    role = "bad" if total > limit else "good"
    behind = place + 2 + len(words) <= width
    text = f"{mark} {words}" if behind else f"{words} {mark}"
    return tuple(spans), ((" " * max(0, place if behind else place - len(words) - 1), ""), (text, role))
