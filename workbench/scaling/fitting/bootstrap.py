"""How sure a fit is: the same fit to runs drawn anew, many times, as Hoffmann et al. 2022 and Besiroglu et
al. 2024 do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.scaling.fitting.parametric import DELTA, Fit, refit_law
from workbench.scaling.fitting.points import LEAST_SIZES, Points, distinct
from workbench.scaling.laws import Floats, Law

RESAMPLES = 400
LEVEL = 0.95
TRIES = 20
"""Draws that lack different sizes say nothing of the exponents and are drawn again, so often."""
Interval = tuple[float, float]


@dataclass(frozen=True)
class Bootstrap:
    """Laws fitted to resampled runs, and `scatter`: log losses of the runs less those of the law, widened for
    the five coefficients that were fitted to them."""

    laws: tuple[Law, ...]
    scatter: Floats
    seed: int

    def interval(self, of: Callable[[Law], float], level: float = LEVEL) -> Interval:
        """The percentiles of something that follows from a law."""
        values = [of(law) for law in self.laws]
        low, high = np.quantile(values, ((1 - level) / 2, (1 + level) / 2))
        return float(low), float(high)

    def of_prediction(self, of: Callable[[Law], float], level: float = LEVEL) -> Interval:
        """Percentiles of the loss that one more run will have: that of the laws, with the scatter of runs
        about them."""
        rng = np.random.default_rng((self.seed, 1))
        values = np.array([of(law) for law in self.laws])
        # Several draws of scatter for each law, so that both tails have values.
        draws = rng.choice(self.scatter, (8, len(values)))
        low, high = np.quantile(values * np.exp(draws), ((1 - level) / 2, (1 + level) / 2))
        return float(low), float(high)


def bootstrap(
    points: Points,
    fit: Fit,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    delta: float = DELTA,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Bootstrap:
    """Fit the law to `resamples` draws of as many runs with replacement."""
    rng = np.random.default_rng(seed)
    laws = []
    for number in range(resamples):
        drawn = points.take(_draw(points, rng))
        laws.append(refit_law(drawn, fit.law.count, fit.place, delta=delta).law)
        progress(number + 1, resamples)
    off = np.log(points.loss) - np.log(fit.law.loss(points.parameters, points.tokens))
    # Residuals are smaller than errors, by the five degrees of freedom that the fit took.
    widened = off * np.sqrt(len(points) / max(1, len(points) - 5))
    return Bootstrap(tuple(laws), np.asarray(widened), seed)


def _draw(points: Points, rng: np.random.Generator) -> Sequence[int]:
    for _ in range(TRIES):
        chosen = rng.integers(0, len(points), len(points))
        few = min(distinct(points.parameters[chosen]), distinct(points.tokens[chosen]))
        if few >= LEAST_SIZES:
            break
    return [int(index) for index in chosen]
