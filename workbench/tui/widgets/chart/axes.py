"""What part of the plane a chart shows, and how that keeps still while points arrive.

Limits and views are in the coordinates of the axis: of the numbers themselves, or of their logarithms
to base 10. Every rescale redraws the whole chart, 12 kB on the wire, so limits are round numbers that
stay until the points leave them or fill too little of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from workbench.tui.widgets.chart.ticks import nice_end, nice_step

Span = tuple[float, float]

# Keep y limits while the points fill this share of them.
FILLED = 0.55
SMALLEST_ZOOM = 1e-7


@dataclass
class Limits:
    """The ends of one axis, moved as seldom as possible."""

    span: Span | None = None

    def fit(self, low: float, high: float, *, log: bool) -> Span:
        """Limits around [low, high]: those of before if they will do, else the next round ones."""
        if self.span is not None:
            bottom, top = self.span
            inside = bottom <= low and high <= top
            if inside and (high - low >= FILLED * (top - bottom) or self.span == _round(low, high, log)):
                return self.span
        self.span = _round(low, high, log)
        return self.span


def _round(low: float, high: float, log: bool) -> Span:
    if log:
        # At least a third of a decade; ends at tenths of one.
        middle, half = (low + high) / 2, max((high - low) / 2, 1 / 6)
        low, high = min(low, middle - half), max(high, middle + half)
        step = 0.1 if high - low < 2 else 0.25
    else:
        if high - low <= 1e-12 * max(abs(low), abs(high)):
            # A constant: in the middle, or on the ground when it is nought.
            room = abs(low) * 0.1 or 1.0
            low, high = low - (room if low else 0.0), high + room
        step = nice_step(high - low, 10)
    return step * math.floor(low / step + 1e-9), step * math.ceil(high / step - 1e-9)


class Viewport:
    """The x range in view: all points, following the live end, or what was zoomed to."""

    def __init__(self) -> None:
        self.zoomed: Span | None = None
        self.live = False
        self.span: Span = (0.0, 1.0)
        self.data: Span = (0.0, 1.0)
        self.y = Limits()
        # Columns left of the plot, kept so that one drawing starts where the last ended.
        self.gutter = 5

    def update(self, data: Span | None, *, log: bool) -> Span:
        """The range to show for points in `data` (axis coordinates); None when there are none."""
        if data is not None:
            self.data = data
        self.span = self.zoomed or self._following(log)
        return self.span

    def _following(self, log: bool) -> Span:
        low, high = self.data
        if log:
            end = math.log10(nice_end(10.0**high)) if self.live else high
            return (low, end) if end - low > 1e-9 else (low - 0.5, low + 0.5)
        if 0 < low < 0.05 * high:
            low = 0.0
        if high - low <= 1e-12 * max(abs(low), abs(high)):
            return (low - 0.5, low + 0.5) if not self.live else (low, low + nice_end(abs(low) or 1.0))
        return (low, low + nice_end(high - low)) if self.live else (low, high)

    def zoom(self, factor: float, center: float | None) -> None:
        """Show a `factor`-th of the range in view, around `center`; all of it at most."""
        low, high = self.span
        whole = self.data[1] - self.data[0]
        middle = (low + high) / 2 if center is None else center
        width = max((high - low) / factor, whole * SMALLEST_ZOOM)
        if width >= max(whole, 0.0) * (1 - 1e-9) or whole <= 0:
            self.reset()
            return
        # The point zoomed at stays where it is on the screen.
        share = (middle - low) / (high - low)
        self._show(middle - share * width, width)

    def pan(self, fraction: float) -> None:
        """Move by a fraction of the range in view, not beyond the points; nothing when all is seen."""
        low, high = self.span
        if self.zoomed is not None:
            self._show(low + fraction * (high - low), high - low)

    def _show(self, low: float, width: float) -> None:
        low = min(max(low, self.data[0]), max(self.data[1] - width, self.data[0]))
        self.zoomed = (low, low + width)
        self.y.span = None

    def reset(self) -> None:
        """Show all points and follow the live end again."""
        self.zoomed = None
        self.y.span = None
