"""Where answers stand, and how many rows each has."""

from __future__ import annotations

from itertools import product

import pytest

from workbench.tui.rank.arranging import grid_for, stacked_heights


@pytest.mark.parametrize(
    ("count", "width", "turned", "grid"),
    [
        (2, 80, False, (1, 2)),
        (2, 100, False, (2, 1)),
        (4, 80, False, (1, 4)),
        (4, 80, True, (4, 1)),
        (4, 200, False, (4, 1)),
        (4, 200, True, (1, 4)),
        (5, 200, False, (3, 2)),
        (9, 200, False, (3, 3)),
        (9, 60, True, (3, 3)),
        (3, 60, False, (1, 3)),
    ],
)
def test_grids(count: int, width: int, turned: bool, grid: tuple[int, int]) -> None:
    found = grid_for(count, width, turned=turned)
    assert (found.columns, found.rows) == grid
    assert found.columns * found.rows >= count > found.columns * (found.rows - 1)


def test_heights_never_take_more_than_there_is() -> None:
    for count, room, focus in product((2, 4, 9), (9, 14, 50), (0, 1)):
        for needs in ([2] * count, [1000] * count, [1000, *[2] * (count - 1)], [2, *[1000] * (count - 1)]):
            heights = stacked_heights(needs, room, focus)
            assert sum(heights) <= max(room, count) and min(heights) >= 1
            assert all(height <= need for height, need in zip(heights, needs, strict=True))
            # No row is left empty while somebody could use it.
            assert sum(heights) == room or heights == needs or room < count
            assert heights[focus] == max(heights) or heights[focus] == needs[focus]
