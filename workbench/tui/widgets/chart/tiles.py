"""The upright strips a chart is made of, so that a small change costs few bytes.

Textual (8.2) sends a changed span of a row from the left edge of its widget on, whatever the left edge
of the span. In a chart of one widget each new dot at the live end would send a whole row, 400 bytes;
with six tiles it sends a sixth of one. More would send less, but each costs time at every refresh.
"""

from __future__ import annotations

from collections.abc import Callable

from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

TILES = 6


class Tile(Widget):
    """One of a row of equal tiles; the lines come from whoever made it."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Tile { width: 1fr; height: 1fr; background: transparent; }
    """

    def __init__(self, lines: Callable[[range, Region], list[Strip]]) -> None:
        """`lines` gives some rows of a region within the parent, line filters applied."""
        super().__init__()
        self._lines_of_parent = lines

    def render_lines(self, crop: Region) -> list[Strip]:
        # Past the cache of styled lines of an ordinary widget, which filters every line of every tile
        # anew at each refresh: half the time of one. What comes here is filtered and cached already.
        own = self.virtual_region
        strips = self._lines_of_parent(crop.line_range, own)
        if crop.column_span != (0, own.width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def parts(self, regions: list[Region]) -> list[Region]:
        """What of these one-row regions of the parent lies in this tile: one a row, from its left edge.

        Each would be sent from there on anyway.
        """
        own = self.virtual_region
        ends: dict[int, int] = {}
        for x, y, width, _ in regions:
            end = min(x + width, own.right)
            if x < own.right and end > max(own.x, ends.get(y, 0)):
                ends[y] = end
        return [Region(own.x, y, end - own.x, 1) for y, end in ends.items()]
