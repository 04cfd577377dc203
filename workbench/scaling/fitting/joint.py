"""The law L(N, D) = E + ((N_c/N)^(α_N/α_D) + D_c/D)^α_D from measured losses: Kaplan et al. 2020, equation
1.5, with a floor.

Where the additive law says that size helps as much after few tokens as after many, this one says that what
is short holds back the other. Runs of a few budgets are often fitted by both within their noise, while far
beyond them the two part: how far tells how much of a prediction is the form's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.scaling.fitting.points import Points
from workbench.scaling.fitting.search import DELTA, Search
from workbench.scaling.fitting.threads import on_one_thread
from workbench.scaling.laws import Count, Floats, KaplanLaw

SHARES = np.array([1e-3, 0.1, 0.3, 0.5, 0.7, 0.9])
"""Of the smallest loss: E at the start."""
POWERS = np.array([0.05, 0.1, 0.2, 0.35, 0.6])
"""α_D at the start."""
RATIOS = np.array([0.5, 1.0, 2.0])
"""α_N/α_D at the start."""
BALANCES = np.array([0.1, 0.5, 0.9])
"""The share of the size's term in the sum, in the middle of the runs, at the start."""
BOUNDS = ((-60.0, 60.0), (-60.0, 60.0), (-12.0, 4.0), (0.1, 20.0), (0.02, 4.0))
"""Of the logs of both terms in the middle of the runs, log E, α_N/α_D, α_D; N_c stays a finite number."""


@dataclass(frozen=True)
class JointFit:
    """As `parametric.Fit`, of this form."""

    law: KaplanLaw
    objective: float
    place: Floats
    others: tuple[Floats, ...] = ()


@on_one_thread
def fit_joint(points: Points, count: Count, *, delta: float = DELTA) -> JointFit:
    """The law of the least Huber loss."""
    search = _Search(points, delta)
    value, place, others = search.least_of_all()
    return JointFit(search.law(place, count), value, place, others)


def refit_joint(points: Points, fit: JointFit, *, delta: float = DELTA) -> JointFit:
    """The law of nearly the same runs as those of another fit."""
    search = _Search(points, delta)
    value, place = search.least_near(fit.place, fit.others)
    return JointFit(search.law(place, fit.law.count), value, place)


class _Search(Search):
    """Five numbers (a, b, e, r, α): L̂ = exp(e) + (exp(a − r·x) + exp(b − y))^α, where x and y are log N and
    log D less their means, r = α_N/α_D and α = α_D."""

    def __init__(self, points: Points, delta: float) -> None:
        super().__init__(points, delta, BOUNDS)

    def law(self, place: Floats, count: Count) -> KaplanLaw:
        """The law at a place."""
        a, b, e, ratio, power = (float(value) for value in place)
        return KaplanLaw(
            parameters_scale=float(np.exp(a / ratio + self.middle[0])),
            tokens_scale=float(np.exp(b + self.middle[1])),
            parameters_power=ratio * power,
            tokens_power=power,
            count=count,
            floor=float(np.exp(e)),
        )

    def starts(self) -> Floats:
        grid = []
        for share in SHARES:
            left = np.log(self.typical - share * self.least)
            for power in POWERS:
                for ratio in RATIOS:
                    for balance in BALANCES:
                        whole = left / power
                        a, b = whole + np.log(balance), whole + np.log1p(-balance)
                        grid.append((a, b, np.log(share * self.least), ratio, power))
        places = np.array(grid)
        return self.best_of(places, self._log_loss(places)[0])

    def _log_loss(self, places: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Log losses on a last axis of runs; the shares of the size in the sum, and of the sum in the loss;
        the log of the sum."""
        a, b, e, ratio, power = (places[..., index, None] for index in range(5))
        size, data = a - ratio * self.x, b - self.y
        both = np.logaddexp(size, data)
        found = np.logaddexp(power * both, e)
        return found, np.exp(size - both), np.exp(power * both - found), both

    def predicted(self, place: Floats) -> tuple[Floats, Floats]:
        found, of_size, of_sum, both = self._log_loss(place)
        inner = of_sum * place[4]
        derivatives = (
            inner * of_size,
            inner * (1 - of_size),
            1 - of_sum,
            -inner * of_size * self.x,
            of_sum * both,
        )
        return found, np.stack(derivatives)
