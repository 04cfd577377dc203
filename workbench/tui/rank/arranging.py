"""Where answers stand: beside each other where there is room, else beneath, the one in focus the largest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

COMFORTABLE, NARROWEST = 44, 16
"""Cells of a column that one reads well, and the least where columns were asked for."""


@dataclass(frozen=True)
class Grid:
    """`columns` × `rows` places, filled row by row."""

    columns: int
    rows: int


def grid_for(count: int, width: int, *, turned: bool = False) -> Grid:
    """The places of `count` answers in so many cells; `turned` is the other way than what fits."""
    fitting = max(1, min(count, width // COMFORTABLE))
    if turned:
        fitting = 1 if fitting > 1 else max(1, min(count, width // NARROWEST))
    rows = math.ceil(count / fitting)
    # As even as can be: 5 in 4 columns would leave one alone below.
    return Grid(math.ceil(count / rows), rows)


def stacked_heights(needs: Sequence[int], room: int, focus: int) -> list[int]:
    """The rows of answers beneath each other, each with one for its head, that need so many for all they say.

    The one in focus gets what it needs first, once all others have three where there is room for that;
    what is left goes to the others in turn. All that is given is at most `room`, and at least one each.
    """
    count = len(needs)
    heights = [1] * count
    left = room - count
    for least in (2, 3):
        wanting = [number for number in range(count) if heights[number] < min(least, needs[number])]
        if len(wanting) > max(0, left - least):
            break
        for number in wanting:
            heights[number] += 1
        left -= len(wanting)
    given = max(0, min(left, needs[focus] - heights[focus]))
    heights[focus] += given
    left -= given
    while left > 0:
        wanting = [number for number in range(count) if heights[number] < needs[number]]
        if not wanting:
            break
        for number in wanting[:left]:
            heights[number] += 1
        left -= len(wanting[:left])
    return heights
