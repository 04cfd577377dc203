"""IsoFLOP parabolas and the power laws of their minima (Hoffmann et al. 2022, approach 2, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.scaling.fitting.points import Point, Points, distinct, points_of

LEAST_IN_LEVEL = 3
"""Three sizes make a parabola."""
LEAST_LEVELS = 2
"""Two minima make a power law, of which nothing can then be said how well it fits."""


@dataclass(frozen=True)
class Parabola:
    """Loss over log N at one compute budget: `curvature`·(log N − log N*)² + `loss`.

    `inside`: whether the minimum lies among the sizes that were run; where it does not, it is extrapolated,
    and where the parabola opens downwards there is none (`parameters` is then None).
    """

    flops: float
    runs: tuple[str, ...]
    coefficients: tuple[float, float, float]
    parameters: float | None
    tokens: float | None
    loss: float | None
    inside: bool
    smallest: float
    largest: float

    def at(self, parameters: float) -> float:
        """The loss on the parabola."""
        square, slope, constant = self.coefficients
        place = np.log(parameters)
        return float(square * place**2 + slope * place + constant)


@dataclass(frozen=True)
class PowerLaw:
    """scale · C^exponent."""

    scale: float
    exponent: float

    def at(self, flops: float) -> float:
        """Its value."""
        return float(self.scale * flops**self.exponent)


@dataclass(frozen=True)
class IsoFlop:
    """The parabolas by compute, and N_opt(C) and D_opt(C) through the minima that lie inside, where there are
    two or more."""

    parabolas: tuple[Parabola, ...]
    parameters: PowerLaw | None
    tokens: PowerLaw | None


def fit_isoflop(points: Points) -> IsoFlop:
    """Approach 2, of the levels that have enough sizes; no parabola where none has."""
    levels: dict[float, list[Point]] = {}
    for run in points.runs:
        if run.level is not None:
            levels.setdefault(run.level, []).append(run)
    parabolas = tuple(
        _parabola(runs)
        for _, runs in sorted(levels.items())
        if distinct(points_of(runs).parameters) >= LEAST_IN_LEVEL
    )
    good = [one for one in parabolas if one.inside]
    if len(good) < LEAST_LEVELS:
        return IsoFlop(parabolas, None, None)
    compute = [one.flops for one in good]
    return IsoFlop(
        parabolas,
        power_law(compute, [one.parameters or 0.0 for one in good]),
        power_law(compute, [one.tokens or 0.0 for one in good]),
    )


def _parabola(runs: Sequence[Point]) -> Parabola:
    points = points_of(runs)
    place = np.log(points.parameters)
    # Budgets are met up to a whole step: the level is what the runs took in the mean.
    flops = float(np.exp(np.log(points.flops).mean()))
    square, slope, constant = (float(value) for value in np.polyfit(place, points.loss, 2))
    smallest, largest = float(points.parameters.min()), float(points.parameters.max())
    lowest = tokens = loss = None
    inside = False
    if square > 0:
        at = -slope / (2 * square)
        inside = bool(place.min() <= at <= place.max())
        # Far outside of what was run the minimum is a matter of rounding, and may not even be a number.
        if abs(at - place.mean()) < 10:
            lowest = float(np.exp(at))
            loss = constant - slope**2 / (4 * square)
            tokens = flops / (points.flops_per_parameter * lowest)
    return Parabola(
        flops,
        tuple(run.name for run in runs),
        (square, slope, constant),
        lowest,
        tokens,
        loss,
        inside,
        smallest,
        largest,
    )


def power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw:
    """The straight line of least squares in log-log."""
    exponent, scale = np.polyfit(np.log(x), np.log(y), 1)
    return PowerLaw(float(np.exp(scale)), float(exponent))
