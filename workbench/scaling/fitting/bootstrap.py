"""How sure a fit is: the same fit to losses drawn anew, many times.

The runs stay (leaving out those of most compute, as draws of runs do, leaves out what carries the exponents);
what is drawn with replacement is how far off the law each loss lies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from workbench.scaling.fitting.joint import JointFit, refit_joint
from workbench.scaling.fitting.parametric import Fit, refit_law
from workbench.scaling.fitting.points import Points, points_of
from workbench.scaling.fitting.search import DELTA
from workbench.scaling.laws import Floats, KaplanLaw, Law

RESAMPLES = 400
LEVEL = 0.95
FITTED = 5
"""Coefficients of a law of either form."""
Interval = tuple[float, float]
AnyForm = TypeVar("AnyForm", Law, KaplanLaw)


@dataclass(frozen=True)
class Bootstrap(Generic[AnyForm]):
    """Laws fitted to losses drawn anew, and `scatter`: log losses of the runs less those of the law, widened
    for the five coefficients that were fitted to them."""

    laws: tuple[AnyForm, ...]
    scatter: Floats

    def interval(self, of: Callable[[AnyForm], float], level: float = LEVEL) -> Interval:
        """The percentiles of something that follows from a law."""
        values = [of(law) for law in self.laws]
        low, high = np.quantile(values, ((1 - level) / 2, (1 + level) / 2))
        return float(low), float(high)

    def deviation(self, parameters: float, tokens: float) -> float:
        """The standard deviation of the log loss of one more run: of the laws, with the scatter of runs about
        them."""
        values = np.log([float(law.loss(parameters, tokens)) for law in self.laws])
        return float(np.hypot(values.std(), np.sqrt((self.scatter**2).mean())))


def bootstrap(
    points: Points,
    fit: Fit,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    delta: float = DELTA,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Bootstrap[Law]:
    """Fit the additive law to `resamples` draws of losses."""
    return _drawn(points, fit.law, lambda drawn: refit_law(drawn, fit, delta=delta).law,
                  resamples, seed, progress)  # fmt: skip


def bootstrap_joint(
    points: Points, fit: JointFit, *, resamples: int = RESAMPLES, seed: int = 0, delta: float = DELTA
) -> Bootstrap[KaplanLaw]:
    """The same of the joint one."""
    return _drawn(points, fit.law, lambda drawn: refit_joint(drawn, fit, delta=delta).law,
                  resamples, seed, lambda done, total: None)  # fmt: skip


def _drawn(
    points: Points,
    law: AnyForm,
    refit: Callable[[Points], AnyForm],
    resamples: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> Bootstrap[AnyForm]:
    rng = np.random.default_rng(seed)
    fitted = law.loss(points.parameters, points.tokens)
    # Residuals are smaller than errors, by the degrees of freedom that the fit took.
    off = np.log(points.loss / fitted) * np.sqrt(len(points) / max(1, len(points) - FITTED))
    laws = []
    for number in range(resamples):
        losses = fitted * np.exp(rng.choice(off, len(points)))
        runs = [replace(run, loss=float(loss)) for run, loss in zip(points.runs, losses, strict=True)]
        laws.append(refit(points_of(runs)))
        progress(number + 1, resamples)
    return Bootstrap(tuple(laws), np.asarray(off))
