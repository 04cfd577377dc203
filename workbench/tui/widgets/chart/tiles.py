"""The upright strips a chart is made of, so that a small change costs few bytes.

Textual (8.2) sends a changed span of a row from the left edge of its widget on, whatever the left edge
of the span. In a chart of one widget each new dot at the live end would send a whole row, 400 bytes;
with six tiles it sends a sixth of one. More would send less, but each costs 0.06 ms at every refresh,
of 1.9; with four, a quarter of a young run's refreshes pass 1.5 kB, with six a twentieth.
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

    def __init__(self, drawing: Callable[[], int], line: Callable[[int, Region], Strip]) -> None:
        """`line` gives one row of a region within the parent, line filters applied.

        `drawing` numbers what the rows belong to; they are asked for anew when it differs.
        """
        super().__init__()
        self._drawing_of_parent, self._line_of_parent = drawing, line
        self._strips: list[Strip] = []
        self._stale: set[int] = set()
        self._drawn: tuple[int, Region] = (0, Region())

    def render_lines(self, crop: Region) -> list[Strip]:
        # Past the cache of styled lines of an ordinary widget, which filters every line of every tile
        # anew at each refresh: half the time of one. What comes here is filtered already, and kept.
        own = self.virtual_region
        drawing = (self._drawing_of_parent(), own)
        if drawing != self._drawn:
            self._drawn = drawing
            self._strips = [self._line_of_parent(y, own) for y in range(own.height)]
        else:
            for y in self._stale:
                if y < own.height:
                    self._strips[y] = self._line_of_parent(y, own)
        self._stale.clear()
        if crop.size == own.size:
            return self._strips
        strips = self._strips[crop.y : crop.bottom]
        if crop.column_span != (0, own.width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def parts(self, regions: list[Region]) -> list[Region]:
        """What of these one-row regions of the parent lies in this tile: one a row, from its left edge.

        Each would be sent from there on anyway. Those rows are asked for anew.
        """
        own = self.virtual_region
        ends: dict[int, int] = {}
        for x, y, width, _ in regions:
            end = min(x + width, own.right)
            if x < own.right and end > max(own.x, ends.get(y, 0)):
                ends[y] = end
        self._stale.update(ends)
        return [Region(own.x, y, end - own.x, 1) for y, end in ends.items()]
