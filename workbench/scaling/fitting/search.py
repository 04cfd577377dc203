"""The search for a law of the least Huber loss of log L̂ − log L, whatever its form: L-BFGS from many starts.

As Besiroglu et al. 2024 found of the fit in Hoffmann et al. 2022, it has to be the sum over runs, not the
mean, and the tolerance tight: otherwise L-BFGS ends early at wherever it started.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench.scaling.fitting.points import Points
from workbench.scaling.laws import Floats

DELTA = 1e-3
"""Where the Huber loss turns from square to linear, in log loss."""
STARTS = 24
"""The best so many places of the grid are descended from."""
SHORT, LONG, BEST = 60, 1000, 3
"""Steps of the first and of the second descent, and how many places have a second."""
APART = 0.25
"""Places whose coordinates nowhere differ by more are one."""


class Search:
    """What forms share. `x` and `y` are log N and log D less their means `middle`; a form says `starts`, and
    what is `predicted` at a place."""

    def __init__(self, points: Points, delta: float, bounds: Sequence[tuple[float, float]]) -> None:
        log_n, log_d = np.log(points.parameters), np.log(points.tokens)
        self.middle = (float(log_n.mean()), float(log_d.mean()))
        self.x, self.y = log_n - self.middle[0], log_d - self.middle[1]
        self.target, self.delta, self.bounds = np.log(points.loss), delta, bounds
        self.least = float(points.loss.min())
        self.typical = float(np.median(points.loss))

    def starts(self) -> Floats:
        """Places to begin at, (places, coordinates)."""
        raise NotImplementedError

    def predicted(self, place: Floats) -> tuple[Floats, Floats]:
        """Log losses, (runs,), and their derivatives by the coordinates, (coordinates, runs)."""
        raise NotImplementedError

    def best_of(self, grid: Floats, predicted: Floats) -> Floats:
        """The places of a grid whose log losses, (places, runs), are nearest."""
        # Far from the minimum Huber's loss is as good as the absolute one.
        return np.asarray(grid[np.argsort(np.abs(predicted - self.target).sum(-1))[:STARTS]])

    def value(self, place: Floats) -> tuple[float, Floats]:
        """The objective, in units of δ², and its gradient."""
        predicted, derivatives = self.predicted(place)
        off = predicted - self.target
        size = np.abs(off)
        inside = size <= self.delta
        huber = np.where(inside, 0.5 * off**2, self.delta * (size - 0.5 * self.delta))
        slope = np.where(inside, off, self.delta * np.sign(off))
        # In units of δ² the objective is of the order of the number of runs, as L-BFGS's tests expect.
        return float(huber.sum()) / self.delta**2, derivatives @ slope / self.delta**2

    def least_of_all(self) -> tuple[float, Floats, tuple[Floats, ...]]:
        """The least objective, its place, and other places that came near it."""
        # A short way down from every start, and from the best of these places the whole way.
        near = sorted((self.descend(place, SHORT) for place in self.starts()), key=lambda one: one[0])
        value, place = min((self.descend(place, LONG) for _, place in near[:BEST]), key=lambda one: one[0])
        others: list[Floats] = []
        for _, other in near:
            if len(others) < BEST - 1 and all(np.abs(other - one).max() > APART for one in (place, *others)):
                others.append(other)
        return value, place, tuple(others)

    def least_near(self, place: Floats, others: Sequence[Floats]) -> tuple[float, Floats]:
        """The least objective of descents from these places, and its place."""
        found = self.descend(place, LONG)
        for other in others:
            value, short = self.descend(other, SHORT)
            # The rest of the way is worth it only from where it leads below the first.
            if value < found[0]:
                found = min(self.descend(short, LONG), (value, short), key=lambda one: one[0])
        return found

    def descend(self, start: Floats, steps: int) -> tuple[float, Floats]:
        """The minimum below a place, or as far down as so many steps go."""
        from scipy.optimize import minimize

        low, high = np.array(self.bounds).T
        found = minimize(
            self.value,
            np.clip(start, low, high),
            jac=True,
            method="L-BFGS-B",
            bounds=self.bounds,
            options={"maxiter": steps, "maxfun": 2 * steps, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 10},
        )
        return float(found.fun) * self.delta**2, np.asarray(found.x, np.float64)
