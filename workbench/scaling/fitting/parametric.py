"""The law L(N, D) = E + A/N^α + B/D^β from measured losses (Hoffmann et al. 2022, approach 3, equation 3).

The sum over runs of a Huber loss of log L̂ − log L with δ = 10⁻³ is minimised by L-BFGS from several starts.
As Besiroglu et al. 2024 found, it has to be the sum, not the mean, and the tolerance tight: otherwise L-BFGS
ends early at wherever it started. Here log N and log D are measured from their means besides, since A and α
(and B and β) are otherwise all but one parameter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from workbench.scaling.fitting.points import Points
from workbench.scaling.fitting.threads import on_one_thread
from workbench.scaling.laws import Count, Floats, Law

DELTA = 1e-3
"""Where the Huber loss turns from square to linear, in log loss."""
STARTS = 24
"""The best so many places of the grid are descended from."""
SHORT, LONG, BEST = 60, 1000, 3
"""Steps of the first and of the second descent, and how many places have a second."""
EXPONENTS = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.55, 0.75, 1.0, 1.5])
SHARES = np.array([0.02, 0.1, 0.3, 0.6, 0.9])
"""Of the smallest loss: E at the start."""
SIZES = np.array([0.1, 0.3, 1.0])
"""Of what is left: A/N^α and B/D^β in the middle of the runs at the start."""
BOUNDS = ((-12.0, 12.0), (-12.0, 12.0), (-12.0, 4.0), (0.005, 4.0), (0.005, 4.0))
"""Of log A/N̄^α, log B/D̄^β, log E, α, β, where N̄ and D̄ are geometric means."""


@dataclass(frozen=True)
class Fit:
    """What came of it: the law, the Huber loss that is left, and where the search ended in its own
    coordinates, from which another search may begin."""

    law: Law
    objective: float
    place: Floats

    @property
    def at_bounds(self) -> tuple[str, ...]:
        """Coefficients that ran into the bounds of the search: the runs say nothing about them."""
        names = ("A", "B", "E", "alpha", "beta")
        return tuple(
            name
            for name, value, (low, high) in zip(names, self.place, BOUNDS, strict=True)
            if value - low < 1e-6 or high - value < 1e-6
        )


@on_one_thread
def fit_law(points: Points, count: Count, *, delta: float = DELTA) -> Fit:
    """The law of the least Huber loss."""
    search = _Search(points, delta)
    # A short way down from every start, and from the best of these places the whole way.
    near = sorted((search.descend(place, SHORT) for place in search.starts()), key=lambda one: one[0])
    value, place = min((search.descend(place, LONG) for _, place in near[:BEST]), key=lambda one: one[0])
    return Fit(replace(search.law(place), count=count), value, place)


def refit_law(points: Points, count: Count, start: Floats, *, delta: float = DELTA) -> Fit:
    """The law of nearly the same runs as those whose fit ended at `start`: no search for good starts."""
    search = _Search(points, delta)
    value, place = search.descend(start, LONG)
    return Fit(replace(search.law(place), count=count), value, place)


class _Search:
    """Five numbers (a, b, e, α, β): L̂ = exp(a − α·x) + exp(b − β·y) + exp(e), where x and y are log N and
    log D less their means."""

    def __init__(self, points: Points, delta: float) -> None:
        log_n, log_d = np.log(points.parameters), np.log(points.tokens)
        self.middle = (float(log_n.mean()), float(log_d.mean()))
        self.x, self.y = log_n - self.middle[0], log_d - self.middle[1]
        self.target, self.delta = np.log(points.loss), delta
        self.least = float(points.loss.min())
        self.typical = float(np.median(points.loss))

    def law(self, place: Floats) -> Law:
        a, b, e, alpha, beta = (float(value) for value in place)
        return Law(
            E=float(np.exp(e)),
            A=float(np.exp(a + alpha * self.middle[0])),
            B=float(np.exp(b + beta * self.middle[1])),
            alpha=alpha,
            beta=beta,
        )

    def _terms(self, places: Floats) -> Floats:
        """The three terms in log, on a last axis of runs: (…, 3, runs)."""
        a, b, e, alpha, beta = (places[..., index, None] for index in range(5))
        return np.stack((a - alpha * self.x, b - beta * self.y, np.broadcast_to(e, a.shape) + 0 * self.x), -2)

    def starts(self) -> Floats:
        """The best places of a grid over all five, told apart by their exponents."""
        left = self.typical - SHARES * self.least
        grid = np.array(
            [
                (np.log(size * rest), np.log(other * rest), np.log(share * self.least), alpha, beta)
                for share, rest in zip(SHARES, left, strict=True)
                for size in SIZES
                for other in SIZES
                for alpha in EXPONENTS
                for beta in EXPONENTS
            ]
        )
        terms = self._terms(grid)
        off = np.logaddexp(np.logaddexp(terms[:, 0], terms[:, 1]), terms[:, 2]) - self.target
        # Far from the minimum Huber's loss is as good as the absolute one.
        return np.asarray(grid[np.argsort(np.abs(off).sum(-1))[:STARTS]])

    def value(self, place: Floats) -> tuple[float, Floats]:
        """The objective, in units of δ, and its gradient."""
        first, second, third = self._terms(place)
        predicted = np.logaddexp(np.logaddexp(first, second), third)
        off = predicted - self.target
        size = np.abs(off)
        inside = size <= self.delta
        huber = np.where(inside, 0.5 * off**2, self.delta * (size - 0.5 * self.delta))
        slope = np.where(inside, off, self.delta * np.sign(off))
        of_n, of_d, of_e = (slope * np.exp(term - predicted) for term in (first, second, third))
        gradient = np.array(
            [of_n.sum(), of_d.sum(), of_e.sum(), -(of_n * self.x).sum(), -(of_d * self.y).sum()]
        )
        # In units of δ² the objective is of the order of the number of runs, as L-BFGS's tests expect.
        return float(huber.sum()) / self.delta**2, gradient / self.delta**2

    def descend(self, start: Floats, steps: int) -> tuple[float, Floats]:
        """The minimum below a place, or as far down as so many steps go."""
        from scipy.optimize import minimize

        low, high = np.array(BOUNDS).T
        place = np.clip(start, low, high)
        found = minimize(
            self.value,
            place,
            jac=True,
            method="L-BFGS-B",
            bounds=BOUNDS,
            options={"maxiter": steps, "maxfun": 2 * steps, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 10},
        )
        return float(found.fun) * self.delta**2, np.asarray(found.x, np.float64)
