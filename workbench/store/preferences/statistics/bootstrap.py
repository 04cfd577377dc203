"""Intervals by drawing with replacement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its interval, and its standard error."""

    value: float
    low: float
    high: float
    error: float = float("nan")

    def holds(self, value: float) -> bool:
        """Whether the interval holds a value."""
        return self.low <= value <= self.high


def draws(count: int, resamples: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """How often each of `count` things is drawn, with replacement, [resamples, count]."""
    return rng.multinomial(count, np.full(count, 1.0 / count), size=resamples).astype(np.float64)


def bootstrap(
    statistic: Callable[[npt.NDArray[np.float64]], float | None],
    count: int,
    resamples: int,
    rng: np.random.Generator,
    confidence: float = CONFIDENCE,
) -> Interval | None:
    """The percentile interval of a statistic of how often each of `count` things is taken.

    Efron (1979). None where the statistic of all is none; draws of which it is none do not count.
    """
    value = statistic(np.ones(count))
    if value is None:
        return None
    drawn = [statistic(times) for times in draws(count, resamples, rng)]
    found = np.array([one for one in drawn if one is not None])
    if not len(found):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high), float(found.std(ddof=1)) if len(found) > 1 else 0.0)
