"""How sure a mean is: bootstrap intervals (Efron 1987), exact ones where there is too little to resample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

LEVEL = 0.95
RESAMPLES, FEWER_RESAMPLES = 9_999, 1_999
MANY = 5_000
"""Items from which fewer resamples do: BCa's jackknife is quadratic in them, and corrects nothing there."""
FEWEST = 30
FEWEST_OF_A_KIND = 5
"""Right or wrong answers below which resamples hold next to none of them, and the bootstrap says nothing."""
CELLS = 10_000_000
"""Numbers in memory at once while resampling."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval at `level`, how it was found, and what to think of it."""

    low: float
    high: float
    method: str
    level: float = LEVEL
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Its parts."""
        return asdict(self)


def of_mean(scores: Sequence[float], seed: int = 0) -> Interval | None:
    """The interval of a mean of scores from 0 to 1, one an item; None where nothing can be said.

    Bootstrap over the items, BCa up to 5,000 of them; where all scores are 0 or 1 and there are fewer than
    30 of them, or fewer than 5 of either, the exact binomial interval (Clopper and Pearson 1934).
    """
    right = sum(score == 1 for score in scores)
    wrong = sum(score == 0 for score in scores)
    few = len(scores) < FEWEST or min(right, wrong) < FEWEST_OF_A_KIND
    if scores and few and right + wrong == len(scores):
        return _exact(right, len(scores))
    return bootstrapped(scores, seed)


def bootstrapped(scores: Sequence[float], seed: int = 0) -> Interval | None:
    """The bootstrap interval of a mean; None where all scores are the same."""
    return None if len(set(scores)) < 2 else _resampled([scores], seed)


def of_gain(first: Sequence[float], second: Sequence[float], seed: int = 0) -> Interval | None:
    """The bootstrap interval of the second's mean less the first's, over items that both have: an item is
    drawn with both its scores. None where the gain is the same on all."""
    gains = {two - one for one, two in zip(first, second, strict=True)}
    return None if len(gains) < 2 else _resampled([first, second], seed)


def _resampled(columns: Sequence[Sequence[float]], seed: int) -> Interval:
    import numpy as np
    from scipy.stats import bootstrap

    def statistic(*drawn: Any, axis: int = -1) -> Any:
        means = [np.mean(column, axis=axis) for column in drawn]
        return means[-1] - means[0] if len(means) > 1 else means[0]

    items, paired = len(columns[0]), len(columns) > 1
    many = items > MANY
    found = bootstrap(
        tuple(np.asarray(column, dtype=float) for column in columns),
        statistic,
        paired=paired,
        n_resamples=FEWER_RESAMPLES if many else RESAMPLES,
        batch=max(1, CELLS // items),
        vectorized=True,
        confidence_level=LEVEL,
        method="percentile" if many else "BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    note = f"{items} items: the interval itself is rough" if items < FEWEST else ""
    method = f"{'paired ' if paired else ''}bootstrap, {'percentile' if many else 'BCa'}"
    return Interval(float(found.low), float(found.high), method, note=note)


def _exact(right: int, total: int) -> Interval:
    from scipy.stats import binomtest

    found = binomtest(right, total).proportion_ci(LEVEL, method="exact")
    if total < FEWEST:
        note = f"{total} items: the interval is exact, and wide"
    else:
        note = f"only {min(right, total - right)} {'right' if right * 2 < total else 'wrong'}: exact interval"
    return Interval(float(found.low), float(found.high), "exact binomial", note=note)
