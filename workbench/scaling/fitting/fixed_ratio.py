"""L(C) = E + K/C^γ over runs of one number of tokens a parameter (Kaplan et al. 2020, section 3.3, with a
floor)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.scaling.fitting.points import Point, points_of

LEAST_IN_RATIO = 4
"""Three coefficients, and one run more."""
ALIKE = 1.25
"""Ratios within so much of each other are one."""


@dataclass(frozen=True)
class RatioCurve:
    """E + K/C^γ at about `ratio` tokens a parameter, and the largest relative error on its `runs`."""

    ratio: float
    runs: tuple[str, ...]
    E: float
    K: float
    gamma: float
    worst: float

    def at(self, flops: float) -> float:
        """Nats a token."""
        return float(self.E + self.K / flops**self.gamma)


def fit_ratios(runs: Sequence[Point]) -> tuple[RatioCurve, ...]:
    """One curve for each ratio of which there are enough runs."""
    groups: list[list[Point]] = []
    for run in sorted(runs, key=_ratio):
        if groups and _ratio(run) / _ratio(groups[-1][0]) <= ALIKE:
            groups[-1].append(run)
        else:
            groups.append([run])
    return tuple(_curve(group) for group in groups if len(group) >= LEAST_IN_RATIO)


def _ratio(run: Point) -> float:
    return run.tokens / run.parameters


def _curve(group: Sequence[Point]) -> RatioCurve:
    from scipy.optimize import minimize_scalar

    points = points_of(group)
    x, y = np.log(points.flops / points.flops.min()), points.loss

    def linear(gamma: float) -> tuple[float, float, float]:
        """E and K of least squares for an exponent, and what is left."""
        design = np.stack((np.ones_like(x), np.exp(-gamma * x)), 1)
        (floor, scale), *_ = np.linalg.lstsq(design, y, rcond=None)
        # A floor below nought is none: then the curve is a mere power law.
        if floor < 0:
            floor, scale = 0.0, float((design[:, 1] * y).sum() / (design[:, 1] ** 2).sum())
        return float(floor), float(scale), float(((design @ (floor, scale) - y) ** 2).sum())

    found = minimize_scalar(lambda gamma: linear(gamma)[2], bounds=(0.005, 2.0), method="bounded")
    gamma = float(found.x)
    floor, scale, _ = linear(gamma)
    fitted = floor + scale * np.exp(-gamma * x)
    return RatioCurve(
        float(np.exp(np.log(points.tokens / points.parameters).mean())),
        tuple(run.name for run in group),
        floor,
        scale * float(points.flops.min()) ** gamma,
        gamma,
        float(np.abs(fitted / y - 1).max()),
    )
