"""How far a fit can be trusted: residuals, the prediction of what was left out, what the runs cannot tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.errors import DataError
from workbench.scaling.fitting.bootstrap import Interval
from workbench.scaling.fitting.parametric import Fit, fit_law
from workbench.scaling.fitting.points import Point, Points, require_enough
from workbench.scaling.fitting.search import DELTA

WIDE = 2.0
"""An exponent whose interval's ends are so far apart, as a ratio, is told, but not to be relied on."""
MANY = 12
"""Runs: hardly more than the law has coefficients are fitted by it whatever they are (six runs predicted one
of eight times their compute 7 % too high)."""
SPAN = 4.0
"""Sizes, and tokens, should differ by so much at least."""


@dataclass(frozen=True)
class Residual:
    """A run beside the law: `error` is measured over predicted, less 1."""

    run: Point
    predicted: float
    error: float


@dataclass(frozen=True)
class LeftOut:
    """The runs of most compute, predicted by the law of all others: the largest `error` in size."""

    runs: tuple[str, ...]
    errors: tuple[float, ...]
    factor: float
    """Their compute, as a multiple of the most that the law was fitted to."""

    @property
    def worst(self) -> float:
        """The error largest in size."""
        return max(self.errors, key=abs)


def residuals(points: Points, fit: Fit) -> tuple[Residual, ...]:
    """Each run, least compute first."""
    predicted = fit.law.loss(points.parameters, points.tokens)
    found = [
        Residual(run, float(value), run.loss / float(value) - 1)
        for run, value in zip(points.runs, predicted, strict=True)
    ]
    return tuple(sorted(found, key=lambda one: (one.run.flops, one.run.parameters)))


def r_squared(points: Points, fit: Fit) -> float:
    """The share of the variance of log loss that the law explains."""
    target = np.log(points.loss)
    off = target - np.log(fit.law.loss(points.parameters, points.tokens))
    whole = ((target - target.mean()) ** 2).sum()
    return float(1 - (off**2).sum() / whole) if whole > 0 else float("nan")


def leave_largest_out(points: Points, *, delta: float = DELTA) -> LeftOut | None:
    """Predict the runs of the largest compute from the others; None where too few are left."""
    top = float(points.flops.max())
    largest = points.flops > top / 1.3
    rest = points.take(np.flatnonzero(~largest))
    try:
        require_enough(rest, "")
    except DataError:
        return None
    law = fit_law(rest, "total", delta=delta).law
    left = points.take(np.flatnonzero(largest))
    predicted = law.loss(left.parameters, left.tokens)
    errors = tuple(float(value) for value in left.loss / predicted - 1)
    return LeftOut(tuple(run.name for run in left.runs), errors, top / float(rest.flops.max()))


def doubts(points: Points, fit: Fit, intervals: dict[str, Interval]) -> list[str]:
    """What the runs cannot tell, each in a sentence; none where all is well."""
    found = []
    if len(points) < MANY:
        found.append(
            f"{len(points)} runs for five coefficients: they say little of how far off the law is, and "
            f"intervals are guesses; it takes {MANY} runs or more"
        )
    for what, values in (("sizes", points.parameters), ("numbers of tokens", points.tokens)):
        span = float(values.max() / values.min())
        if span < SPAN:
            found.append(f"the {what} differ by {span:.1f}× only: their exponent can hardly be told")
    for name in fit.at_bounds:
        found.append(f"{name} ran into the bounds of the search: these runs do not determine it")
    low, high = intervals["E"]
    if low < 0.1 * fit.law.E:
        found.append(
            f"E is not determined: its interval [{low:.2g}, {high:.3g}] reaches down to nothing. The "
            "frontier and predictions near the runs stand; the loss of endless compute does not"
        )
    for name, what in (("alpha", "A and α"), ("beta", "B and β")):
        low, high = intervals[name]
        if high > WIDE * low:
            found.append(
                f"{what} are loosely determined: the exponent lies in [{low:.2f}, {high:.2f}]; a wider range "
                f"of {'sizes' if name == 'alpha' else 'tokens'} would tell"
            )
    return found
