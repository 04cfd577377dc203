"""A curve as a few lines of text, for results that are printed rather than watched."""

from __future__ import annotations

import math
from collections.abc import Sequence

from workbench.cli import render

# Bits of a braille cell's dots, by column and row: the upper six were numbered before the lower two.
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def chart(
    points: Sequence[tuple[float, float]], *, width: int = 60, height: int = 8, braille: bool = True
) -> str:
    """(x, y) points as a chart of `height` lines, with the y range on its left and the x range below.

    Points that share a column are averaged; values that are not finite are passed over.
    """
    finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if len(finite) < 2 or width < 2:
        return ""
    across, down = (2, 4) if braille else (1, 1)
    columns = _column_means(finite, width * across)
    low, high = min(columns), max(columns)
    rows = height * down
    levels = [round((high - y) / ((high - low) or 1.0) * (rows - 1)) for y in columns]
    lines = (_braille if braille else _ascii)(levels, width, height)
    labels = [render.number(high), *[""] * (height - 2), render.number(low)]
    margin = max(map(len, labels))
    bar = "│" if braille else "|"
    body = [f"{label:>{margin}} {bar}{line}".rstrip() for label, line in zip(labels, lines, strict=True)]
    first, last = f"{finite[0][0]:,.0f}", f"{finite[-1][0]:,.0f}"
    foot = f"{' ' * margin}  {first}{last:>{width - len(first)}}"
    return "\n".join([*body, foot])


def _column_means(points: Sequence[tuple[float, float]], columns: int) -> list[float]:
    """The mean of the points in each column; columns without any lie on the line between the nearest."""
    start, end = points[0][0], points[-1][0]
    sums, counts = [0.0] * columns, [0] * columns
    for x, y in points:
        column = min(columns - 1, int((x - start) / ((end - start) or 1.0) * columns))
        sums[column] += y
        counts[column] += 1
    known = [column for column in range(columns) if counts[column]]
    means = [sums[column] / counts[column] if counts[column] else 0.0 for column in range(columns)]
    for left, right in zip(known, known[1:], strict=False):
        for column in range(left + 1, right):
            share = (column - left) / (right - left)
            means[column] = means[left] + share * (means[right] - means[left])
    return means[: known[-1] + 1]


def _ascii(levels: Sequence[int], width: int, height: int) -> list[str]:
    return ["".join("*" if level == row else " " for level in levels) for row in range(height)]


def _braille(levels: Sequence[int], width: int, height: int) -> list[str]:
    cells = [[0] * width for _ in range(height)]
    previous = levels[0]
    for column, level in enumerate(levels):
        # Fill the way from the last level, so that a steep fall is a line and not two dots.
        start = previous + (level > previous) - (level < previous)
        for row in range(min(start, level), max(start, level) + 1):
            cells[row // 4][column // 2] |= DOTS[column % 2][row % 4]
        previous = level
    return ["".join(chr(0x2800 + bits) if bits else " " for bits in line) for line in cells]
