"""Minimum, maximum and sum per bucket of points, at several bucket sizes, grown as points arrive.

Drawing a million points then touches about two buckets a dot column: 0.1 ms instead of 5 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.store.growing import FloatArray, Growing

IntArray = NDArray[np.intp]

# The smallest bucket: finer levels would cost more memory than they save time, since a column with
# fewer than 16 points is summarised from the points themselves.
BASE = 16
FACTOR = 4
# So many points are summed in less time than it takes to choose levels: the live end of a curve.
FEW_POINTS = 16384


@dataclass(frozen=True)
class Summary:
    """What the points of each column come to; three arrays of one value a column."""

    low: FloatArray
    high: FloatArray
    mean: FloatArray


class Level:
    """Complete buckets of `size` points."""

    __slots__ = ("high", "low", "size", "total")

    def __init__(self, size: int) -> None:
        self.size = size
        self.low, self.high, self.total = Growing(), Growing(), Growing()


class Pyramid:
    """The levels over one array of finite values, which only grows."""

    def __init__(self) -> None:
        self.levels: list[Level] = [Level(BASE)]

    def extend(self, values: FloatArray) -> None:
        """Take in the end of `values`, all of the array so far; O(new points).

        Summaries that need it do so themselves: the live end of a curve mostly does without.
        """
        base = self.levels[0]
        start, end = base.low.length * BASE, len(values) // BASE * BASE
        # Pieces that stay in the processor's cache between the three passes.
        for first in range(start, end, 1 << 15):
            # Transposed, the reduction runs along long rows: four times faster than over 16 at a time.
            buckets = np.ascontiguousarray(values[first : min(first + (1 << 15), end)].reshape(-1, BASE).T)
            base.low.append(buckets.min(axis=0))
            base.high.append(buckets.max(axis=0))
            base.total.append(buckets.sum(axis=0))
        below, index = base, 1
        while below.low.length >= FACTOR:
            if index == len(self.levels):
                self.levels.append(Level(below.size * FACTOR))
            level = self.levels[index]
            start, end = level.low.length * FACTOR, below.low.length // FACTOR * FACTOR
            if end == start:
                break
            level.low.append(below.low.view[start:end].reshape(-1, FACTOR).min(axis=1))
            level.high.append(below.high.view[start:end].reshape(-1, FACTOR).max(axis=1))
            level.total.append(below.total.view[start:end].reshape(-1, FACTOR).sum(axis=1))
            below, index = level, index + 1

    def summarise(self, values: FloatArray, starts: IntArray, ends: IntArray) -> Summary:
        """Summaries of `values[start:end]` for each pair; every end must be greater than its start.

        Exact where a range has fewer than BASE points, or all have few. Otherwise a range is widened
        to whole buckets no longer than itself, so no extreme value is ever missed.
        """
        if not len(starts):
            nothing = np.empty(0)
            return Summary(nothing, nothing, nothing)
        counts = ends - starts
        if counts.sum() <= FEW_POINTS:
            return _from_points(values, starts, ends)
        self.extend(values)
        low, high, mean = np.empty(len(starts)), np.empty(len(starts)), np.empty(len(starts))
        summary = Summary(low, high, mean)
        open_columns = np.ones(len(starts), np.bool_)
        while open_columns.any():
            level = self._level_for(int(counts[open_columns].max()))
            # A level serves down to one bucket a column, so that evenly spread points need only one.
            chosen = open_columns & (counts >= level.size) if level else open_columns
            if chosen.all():
                chosen_starts, chosen_ends = starts, ends
            else:
                chosen_starts, chosen_ends = starts[chosen], ends[chosen]
            part = (
                _from_level(level, values, chosen_starts, chosen_ends)
                if level
                else _from_points(values, chosen_starts, chosen_ends)
            )
            low[chosen], high[chosen], mean[chosen] = part.low, part.high, part.mean
            open_columns = open_columns & ~chosen
        return summary

    def _level_for(self, count: int) -> Level | None:
        fitting = [level for level in self.levels if 2 * level.size <= count and level.low.length]
        return fitting[-1] if fitting else None


def _from_points(values: FloatArray, starts: IntArray, ends: IntArray) -> Summary:
    if (starts[1:] == ends[:-1]).all():
        points, first = values[starts[0] : ends[-1]], starts - starts[0]
    else:
        taken, first = _gather(starts, ends)
        points = values[taken]
    return Summary(
        np.minimum.reduceat(points, first),
        np.maximum.reduceat(points, first),
        np.add.reduceat(points, first) / (ends - starts),
    )


def _from_level(level: Level, values: FloatArray, starts: IntArray, ends: IntArray) -> Summary:
    size, complete = level.size, level.low.length
    bucket_starts, bucket_ends = starts // size, -(-ends // size)
    taken, first = _gather(bucket_starts, bucket_ends)
    low = level.low.view.take(taken, mode="clip")
    high = level.high.view.take(taken, mode="clip")
    total = level.total.view.take(taken, mode="clip")
    counts = (bucket_ends - bucket_starts) * size
    tail = values[complete * size :]
    if len(tail):
        # The last bucket, not yet full, exists only here.
        unfinished = taken == complete
        low[unfinished], high[unfinished], total[unfinished] = tail.min(), tail.max(), tail.sum()
        counts -= (bucket_ends > complete) * (size - len(tail))
    return Summary(
        np.minimum.reduceat(low, first),
        np.maximum.reduceat(high, first),
        np.add.reduceat(total, first) / counts,
    )


def _gather(starts: IntArray, ends: IntArray) -> tuple[IntArray, IntArray]:
    """The indices of all ranges in one row, and where in it each range begins."""
    lengths = ends - starts
    first = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    return np.arange(int(lengths.sum())) + np.repeat(starts - first, lengths), first
