"""Colours of a chart in 16 million, 256, 16 or none, and what tells curves apart without colour."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from rich.color import Color, ColorParseError, blend_rgb
from rich.style import Style

from workbench.tui.widgets.chart.series import SeriesStyle

Depth = Literal["many", "few", "none"]

# Told apart by most colour-blind people, and of middling lightness: readable on dark and on light.
COLORS = ("#3d9df3", "#f39c34", "#2fbf71", "#e8578f", "#a184f2", "#d8b21c", "#1fb8b0", "#f0655a")
# The bright colours of the 16, whose exact values depend on the terminal.
FEW_COLORS = ("#00ffff", "#ffff00", "#00ff00", "#ff00ff", "#5555ff", "#ff5555", "#aa00aa", "#ffffff")
FAINT = 0.34

# Dot columns (drawn, left out, ...) by which curves differ under NO_COLOR.
PATTERNS: tuple[tuple[int, ...], ...] = ((1, 0), (6, 3), (2, 2), (8, 2, 2, 2))
DASHES = PATTERNS[1]
SAMPLES = ("━━", "╍╍", "┅┅", "━╍")

# Style numbers; each series then has a bright and a faint one.
BASE, TITLE, MUTED, AXIS, WARNING, FIRST_SERIES = range(6)


def bright(owner: int) -> int:
    """The style number of a series' curve."""
    return FIRST_SERIES + 2 * owner


@lru_cache(maxsize=32)
def style_table(base: Style, series: tuple[SeriesStyle, ...], depth: Depth) -> tuple[Style, ...]:
    """The styles that style numbers stand for, on the background and foreground of `base`."""
    table = [base, base + Style(bold=True), _mixed(base, 0.62, depth), _mixed(base, 0.45, depth), base]
    if depth != "none":
        table[WARNING] = base + Style(color="#ffff00" if depth == "few" else "#d8b21c")
    for style in series:
        color = _color(style.color, depth)
        if color is None:
            table += [base, _mixed(base, 0.4, depth)]
        else:
            faint = Color.parse("#808080") if depth == "few" else _towards(base, color, FAINT)
            table += [base + Style(color=color), base + Style(color=faint)]
    return tuple(table)


def _color(name: int | str, depth: Depth) -> Color | None:
    if depth == "none":
        return None
    colors = FEW_COLORS if depth == "few" else COLORS
    if isinstance(name, str):
        try:
            return Color.parse(name)
        except ColorParseError:
            name = 0
    return Color.parse(colors[name % len(colors)])


def _mixed(base: Style, share: float, depth: Depth) -> Style:
    """The foreground of `base`, faded; the 16 colours have one grey between black and white."""
    if base.color is None or depth == "few":
        return base + Style(color="#aaaaaa") if depth == "few" else base
    return base + Style(color=_towards(base, base.color, share))


def _towards(base: Style, color: Color, share: float) -> Color:
    background = (base.bgcolor or Color.parse("black")).get_truecolor(foreground=False)
    return Color.from_triplet(blend_rgb(background, color.get_truecolor(), share))


def patterns(series: Iterable[SeriesStyle], depth: Depth) -> list[int]:
    """Which of PATTERNS each series is drawn in: dashed ones dashed, without colour all different."""
    if depth != "none":
        return [1 if style.dashed else 0 for style in series]
    chosen, free = [], [0, 2, 3]
    for style in series:
        chosen.append(1 if style.dashed else free[0])
        if not style.dashed:
            free = free[1:] + free[:1]
    return chosen
