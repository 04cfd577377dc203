"""Curves on logarithmic axes as a few lines of text: braille, or letters where there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.tui.widgets.text_lines import Line, Span

DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of the dots of a braille cell by column and row: the upper six were numbered before the lower two."""


@dataclass(frozen=True)
class Curve:
    """Points (x, y) above 0, the role that they are drawn in, and a letter where there is no braille."""

    points: Sequence[tuple[float, float]]
    role: str
    letter: str


def draw_curves(
    curves: Sequence[Curve], width: int, height: int, symbols: str, low_label: str, high_label: str
) -> list[Line]:
    """`height` lines, the least and largest value beside the last and the first; later curves lie above."""
    margin = max(len(low_label), len(high_label))
    columns = max(4, width - margin - 2)
    across, down = (1, 1) if symbols == "ascii" else (2, 4)
    every = [point for curve in curves for point in curve.points]
    xs, ys = ([math.log(point[axis]) for point in every] for axis in (0, 1))
    left, right, low, high = min(xs), max(xs), min(ys), max(ys)
    cells: dict[tuple[int, int], tuple[int, str]] = {}
    for curve in curves:
        for column in range(columns * across):
            x = left + (right - left) * column / (columns * across - 1)
            level = (_at(curve.points, x) - low) / ((high - low) or 1.0)
            row = round((1 - level) * (height * down - 1))
            place = column // across, row // down
            if symbols == "ascii":
                cells[place] = ord(curve.letter), curve.role
                continue
            # Where curves cross, the upper one's colour is seen, and both one's dots.
            before = cells.get(place, (0, ""))[0]
            cells[place] = before | DOTS[column % 2][row % 4], curve.role
    base = 0 if symbols == "ascii" else 0x2800
    bar = "|" if symbols == "ascii" else "│"
    lines: list[Line] = []
    for row in range(height):
        label = high_label if row == 0 else low_label if row == height - 1 else ""
        spans: list[Span] = [(f"{label:>{margin}} {bar}", "dim")]
        for column in range(columns):
            number, role = cells.get((column, row), (0, ""))
            spans.append((chr(base + number) if number else " ", role))
        lines.append(tuple(spans))
    return lines


def _at(points: Sequence[tuple[float, float]], x: float) -> float:
    """The logarithm of a curve's value, on the line between its neighbours."""
    known = [(math.log(one), math.log(value)) for one, value in points]
    for (left, low), (right, high) in zip(known, known[1:], strict=False):
        if x <= right:
            return low + (high - low) * max(0.0, x - left) / (right - left)
    return known[-1][1]
