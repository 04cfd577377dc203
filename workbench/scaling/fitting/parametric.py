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
from workbench.scaling.fitting.search import DELTA, Search
from workbench.scaling.fitting.threads import on_one_thread
from workbench.scaling.laws import Count, Floats, Law

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
    coordinates, from which another search may begin, as it may from the `others` that came near it."""

    law: Law
    objective: float
    place: Floats
    others: tuple[Floats, ...] = ()

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
    value, place, others = search.least_of_all()
    return Fit(replace(search.law(place), count=count), value, place, others)


def refit_law(points: Points, fit: Fit, *, delta: float = DELTA) -> Fit:
    """The law of nearly the same runs as those of another fit: down from where that ended, and from the
    places that came near it, for the least may now be another."""
    search = _Search(points, delta)
    value, place = search.least_near(fit.place, fit.others)
    return Fit(replace(search.law(place), count=fit.law.count), value, place)


class _Search(Search):
    """Five numbers (a, b, e, α, β): L̂ = exp(a − α·x) + exp(b − β·y) + exp(e), where x and y are log N and
    log D less their means."""

    def __init__(self, points: Points, delta: float) -> None:
        super().__init__(points, delta, BOUNDS)

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
        return self.best_of(grid, np.logaddexp(np.logaddexp(terms[:, 0], terms[:, 1]), terms[:, 2]))

    def predicted(self, place: Floats) -> tuple[Floats, Floats]:
        first, second, third = self._terms(place)
        predicted = np.logaddexp(np.logaddexp(first, second), third)
        of_n, of_d, of_e = (np.exp(term - predicted) for term in (first, second, third))
        return predicted, np.stack((of_n, of_d, of_e, -of_n * self.x, -of_d * self.y))
