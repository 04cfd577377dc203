"""The points of one curve, and what is derived from them: logarithms, averages, pyramids."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from workbench.store.growing import FloatArray, Growing
from workbench.tui.widgets.chart.pyramid import IntArray, Pyramid, Summary
from workbench.tui.widgets.chart.smoothing import Smoother

Marks = Literal["line", "points", "bars"]
"""What points become: a line through them, a cross each, or, of those that share an x, a bar from the least
to the greatest."""


@dataclass(frozen=True)
class SeriesStyle:
    """How a curve looks: `color` is an index into the palette or the name of a colour."""

    label: str
    color: int | str = 0
    dashed: bool = False
    marks: Marks = "line"


@dataclass(frozen=True)
class Line:
    """One curve in dot columns: a summary for every column that has points.

    `before` and `after` are the nearest points outside the view, as (column, value), so that the
    curve runs on to the edge.
    """

    columns: IntArray
    summary: Summary
    before: tuple[float, float] | None
    after: tuple[float, float] | None


@dataclass(frozen=True)
class Drawn:
    """The last line made of a track, from its first `count` points: most redraws add to its end."""

    edges: FloatArray
    log_x: bool
    count: int
    bounds: IntArray
    line: Line


def _no_line() -> Line:
    nothing = np.empty(0)
    return Line(np.empty(0, np.intp), Summary(nothing, nothing, nothing), None, None)


class Track:
    """A curve ready to be drawn: values on the y scale, averaged or not, with their pyramid."""

    def __init__(self, log: bool, weight: float, source: Series) -> None:
        # Points drawn as they are need no second copy: the series itself keeps them.
        self._shared = not log and not weight
        self.x, self.y = (source.x, source.y) if self._shared else (Growing(), Growing())
        self.skipped = 0
        self._log = log
        self._smoother = Smoother(weight) if weight else None
        self._pyramid = Pyramid()
        self._drawn: Drawn | None = None
        self.extend(source.x.view, source.y.view)

    def extend(self, x: FloatArray, y: FloatArray) -> None:
        """Add points; on a log scale those that are not positive are left out and counted."""
        if self._shared:
            return
        if self._smoother:
            y = self._smoother.extend(y)
        if self._log:
            positive = y > 0
            if not positive.all():
                self.skipped += len(y) - int(positive.sum())
                x, y = x[positive], y[positive]
            y = np.log10(y)
        self.x.append(x)
        self.y.append(y)

    def line(self, edges: FloatArray, log_x: bool = False) -> Line | None:
        """The curve in the columns between consecutive `edges`; None when it does not cross the view."""
        x, y = self.x.view, self.y.view
        drawn = self._drawn
        # Edges are compared by identity: the same view comes with the same array.
        if drawn is None or drawn.log_x != log_x or drawn.edges is not edges:
            drawn = Drawn(edges, log_x, 0, np.zeros(len(edges), np.intp), _no_line())
        if drawn.count < len(x):
            drawn = self._drawn = self._grown(drawn, x, y)
        line, first, end = drawn.line, int(drawn.bounds[0]), int(drawn.bounds[-1])
        before = _outside(edges, x, y, first - 1, log_x) if first > 0 else None
        after = _outside(edges, x, y, end, log_x) if end < len(x) else None
        if not len(line.columns) and (before is None or after is None):
            return None
        return Line(line.columns, line.summary, before, after)

    def _grown(self, drawn: Drawn, x: FloatArray, y: FloatArray) -> Drawn:
        """What was drawn, brought up to all points; columns well before the new ones are kept."""
        edges, bounds = drawn.edges, drawn.bounds.copy()
        # The column before the one that grew is summed again too: its last bucket was not yet full.
        start = max(0, int(bounds.searchsorted(drawn.count)) - 2) if drawn.count else 0
        known = int(bounds[start])
        unknown = x[known:]
        bounds[start:] = unknown.searchsorted(edges[start:])
        bounds[start:] += known
        bounds[-1] = known + unknown.searchsorted(edges[-1], side="right")
        columns = (bounds[start + 1 :] > bounds[start:-1]).nonzero()[0] + start
        new = self._pyramid.summarise(y, bounds[columns], bounds[columns + 1])
        kept = int(drawn.line.columns.searchsorted(start))
        old = drawn.line.summary
        summary = Summary(
            np.concatenate((old.low[:kept], new.low)),
            np.concatenate((old.high[:kept], new.high)),
            np.concatenate((old.mean[:kept], new.mean)),
        )
        line = Line(np.concatenate((drawn.line.columns[:kept], columns)), summary, None, None)
        return Drawn(edges, drawn.log_x, len(x), bounds, line)


def _outside(
    edges: FloatArray, x: FloatArray, y: FloatArray, index: int, log_x: bool
) -> tuple[float, float] | None:
    """Where a point outside the view lies, counted in columns from the middle of the first."""
    place = float(x[index])
    left, right = float(edges[0]), float(edges[-1])
    if log_x:
        if place <= 0:
            return None
        place, left, right = math.log10(place), math.log10(left), math.log10(right)
    return (place - left) / (right - left) * (len(edges) - 1) - 0.5, float(y[index])


class Series:
    """Points sorted by x. Those that are not finite are kept out, but `gaps` says where they were."""

    def __init__(self, style: SeriesStyle, x: FloatArray, y: FloatArray) -> None:
        self.style = style
        self.x, self.y, self.gaps = Growing(), Growing(), Growing()
        self._tracks: dict[tuple[bool, float], Track] = {}
        self.append(x, y)

    def append(self, x: FloatArray, y: FloatArray) -> None:
        """Add points, O(new) unless they belong before points already there."""
        x, y = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
        if len(x) != len(y):
            raise ValueError(f"{len(x)} x values for {len(y)} y values")
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            placed = np.isfinite(x)
            good = placed & np.isfinite(y)
            gaps = np.concatenate((self.gaps.view, x[placed & ~good]))
            self.gaps = Growing(np.sort(gaps))
            x, y = x[good], y[good]
        if not len(x):
            return
        if (x[1:] < x[:-1]).any():
            order = np.argsort(x, kind="stable")
            x, y = x[order], y[order]
        if self.x.length == 0:
            # Nothing to add to: share the caller's memory, which is never written.
            self.x, self.y, self._tracks = Growing(x), Growing(y), {}
        elif x[0] >= self.x.view[-1]:
            self.x.append(x)
            self.y.append(y)
        else:
            x, y = np.concatenate((self.x.view, x)), np.concatenate((self.y.view, y))
            order = np.argsort(x, kind="stable")
            self.x, self.y, self._tracks = Growing(x[order]), Growing(y[order]), {}
        for track in self._tracks.values():
            track.extend(x, y)

    def track(self, log: bool, weight: float) -> Track:
        """The points on a linear or log scale, averaged with `weight` (0: as they are)."""
        track = self._tracks.get((log, weight))
        if track is None:
            # Keep what is cheap to keep: the unsmoothed tracks and the smoothed ones of this weight.
            self._tracks = {key: kept for key, kept in self._tracks.items() if key[1] in (0.0, weight)}
            track = self._tracks[log, weight] = Track(log, weight, self)
        return track

    def nearest(self, x: float, weight: float = 0.0) -> tuple[float, float] | None:
        """The point whose x is nearest, averaged with `weight`; None when there are no points."""
        points = self.track(False, weight) if weight else self
        xs = points.x.view
        if not len(xs):
            return None
        right = min(int(np.searchsorted(xs, x)), len(xs) - 1)
        left = max(right - 1, 0)
        index = left if x - xs[left] < xs[right] - x else right
        return float(xs[index]), float(points.y.view[index])
