"""The upright strips a chart is made of, so that a small change costs few bytes.

Textual (8.2) sends a changed span of a row from the left edge of its widget on, whatever the left edge
of the span. In a chart of one widget each new dot at the live end would send a whole row, 400 bytes;
with four tiles it sends a quarter of one. More would send less, but each costs the event loop 0.1 ms
a refresh.
"""

from __future__ import annotations

from collections.abc import Callable

from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

TILES = 4


class Tile(Widget):
    """One of a row of equal tiles; the lines come from whoever made it."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Tile { width: 1fr; height: 1fr; background: transparent; }
    """

    def __init__(self, line: Callable[[int, Region], Strip]) -> None:
        """`line` gives row y of a region within the parent."""
        super().__init__()
        self._line = line

    def render_line(self, y: int) -> Strip:
        return self._line(y, self.virtual_region)

    def refresh_parts(self, regions: list[Region]) -> None:
        """Refresh what lies in these regions of the parent, if any does."""
        own = self.virtual_region
        parts = [
            own.intersection(region).translate((-own.x, 0)) for region in regions if region.overlaps(own)
        ]
        if parts:
            self.refresh(*parts)
