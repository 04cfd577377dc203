"""How far a form of law errs beyond its runs: fitted to the lower budgets, asked for the higher ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.errors import DataError
from workbench.scaling.fitting.joint import fit_joint
from workbench.scaling.fitting.parametric import fit_law
from workbench.scaling.fitting.points import Points, require_enough
from workbench.scaling.fitting.search import DELTA
from workbench.scaling.laws import AnyLaw, Count

FORMS = ("additive", "joint")
"""E + A/N^α + B/D^β, and E + ((N_c/N)^(α_N/α_D) + D_c/D)^α_D."""
LEAST_GROUPS = 3
"""Budgets of the smallest fit that is tested: two make no curve."""
PARTS = 5
"""Runs of no budgets are parted by compute into so many groups."""


@dataclass(frozen=True)
class Backtest:
    """A law of one `form`, fitted to the `runs` of least compute, beside what runs of `flops` measured:
    `factor` times the most that it was fitted to. `error` is the mean of the log of measured over
    predicted."""

    form: str
    runs: int
    flops: float
    factor: float
    error: float

    @property
    def rate(self) -> float:
        """The error for each factor e of compute."""
        return self.error / math.log(self.factor)


def backtests(points: Points, count: Count, *, delta: float = DELTA) -> tuple[Backtest, ...]:
    """Every budget from the fourth on predicted from those below it; none where too few runs are left."""
    groups = _groups(points)
    found = []
    for known in range(LEAST_GROUPS, len(groups)):
        below = points.take([index for group in groups[:known] for index in group])
        try:
            require_enough(below, "")
        except DataError:
            continue
        top = float(below.flops.max())
        laws: tuple[AnyLaw, ...] = (
            fit_law(below, count, delta=delta).law,
            fit_joint(below, count, delta=delta).law,
        )
        for group in groups[known:]:
            above = points.take(group)
            flops = float(np.exp(np.log(above.flops).mean()))
            if flops / top < 1.1:
                continue
            for form, law in zip(FORMS, laws, strict=True):
                off = np.log(above.loss / law.loss(above.parameters, above.tokens))
                found.append(Backtest(form, len(below), flops, flops / top, float(off.mean())))
    return tuple(found)


def rates(tests: Sequence[Backtest]) -> dict[str, float]:
    """ρ of each form: the root mean square of what it erred for each factor e; nothing without tests."""
    return {
        form: float(np.sqrt(np.mean([test.rate**2 for test in tests if test.form == form])))
        for form in FORMS
        if tests
    }


def _groups(points: Points) -> list[list[int]]:
    """Runs of one budget, or, where not all have one, of about the same compute, least first."""
    levels = sorted({run.level for run in points.runs if run.level is not None})
    if all(run.level is not None for run in points.runs):
        return [[index for index, run in enumerate(points.runs) if run.level == level] for level in levels]
    ordered = [int(index) for index in np.argsort(points.flops, kind="stable")]
    return [[int(index) for index in part] for part in np.array_split(ordered, PARTS) if len(part)]
