"""The loss of one more run, by the two forms of law that a study's runs are fitted with.

Runs of a few budgets are mostly fitted by both forms within their noise, and far beyond them the forms part.
So what is predicted is the mean of both in log loss, each weighted by how little it erred where it could be
tested: w ∝ 1/ρ², where ρ is its error for each factor e of compute beyond its runs (see `backtest`). The
interval holds the scatter of resampled fits and of runs, and ρ times the log of the factor, and reaches at
least to every form that the tests leave standing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from workbench.scaling.fitting.bootstrap import Bootstrap
from workbench.scaling.laws import AnyLaw, KaplanLaw, Law

UNTESTED = 0.02
"""ρ where the runs allow no test. An assumption: fits to six tiny runs erred by 0.02 to 0.035."""
LEAST_RATE = 5e-4
"""Tests better than this are so by chance."""
STANDING = 0.1
"""A form of less weight than this was refuted by the tests, and does not widen the interval."""


@dataclass(frozen=True)
class Form:
    """One form: its law, the laws of resampled losses, and ρ, None where it was not tested."""

    name: str
    law: AnyLaw
    bootstrap: Bootstrap[Law] | Bootstrap[KaplanLaw]
    rate: float | None

    @property
    def rho(self) -> float:
        """ρ as it is used."""
        return UNTESTED if self.rate is None else max(self.rate, LEAST_RATE)


@dataclass(frozen=True)
class Forecast:
    """The expected `loss`, its interval, and the loss and the weight of each form by name."""

    loss: float
    low: float
    high: float
    forms: dict[str, float]
    weights: dict[str, float]

    @property
    def apart(self) -> float:
        """How far the forms part, relative to the loss."""
        return (max(self.forms.values()) - min(self.forms.values())) / self.loss


def weights_of(forms: tuple[Form, ...]) -> dict[str, float]:
    """The weight of each form; they add up to 1."""
    shares = {form.name: 1 / form.rho**2 for form in forms}
    return {name: share / sum(shares.values()) for name, share in shares.items()}


def forecast(
    forms: tuple[Form, ...], *, parameters: float, tokens: float, factor: float, level: float
) -> Forecast:
    """The loss of N parameters after D tokens, in a run of `factor` times the most compute of the fit."""
    weights = weights_of(forms)
    losses = {form.name: float(form.law.loss(parameters, tokens)) for form in forms}
    middle = math.exp(sum(weights[name] * math.log(loss) for name, loss in losses.items()))
    beyond = math.log(max(1.0, factor))
    variance = sum(
        weights[form.name] * (form.bootstrap.deviation(parameters, tokens) ** 2 + (form.rho * beyond) ** 2)
        for form in forms
    )
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(variance)
    standing = [losses[name] for name, weight in weights.items() if weight >= STANDING]
    return Forecast(
        middle,
        min(middle * math.exp(-half), *standing),
        max(middle * math.exp(half), *standing),
        losses,
        weights,
    )
