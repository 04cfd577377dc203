"""Everything that a study's runs tell: the law with intervals, the frontier, the parabolas, the doubts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workbench.scaling.fitting.backtest import FORMS, Backtest, backtests, rates
from workbench.scaling.fitting.bootstrap import (
    LEVEL,
    RESAMPLES,
    Bootstrap,
    Interval,
    bootstrap,
    bootstrap_joint,
)
from workbench.scaling.fitting.fixed_ratio import RatioCurve, fit_ratios
from workbench.scaling.fitting.isoflop import IsoFlop, fit_isoflop
from workbench.scaling.fitting.joint import JointFit, fit_joint
from workbench.scaling.fitting.parametric import Fit, fit_law
from workbench.scaling.fitting.points import Point, Points, points_of, require_enough
from workbench.scaling.fitting.quality import (
    LeftOut,
    Residual,
    doubts,
    leave_largest_out,
    r_squared,
    residuals,
)
from workbench.scaling.fitting.search import DELTA
from workbench.scaling.fitting.threads import on_one_thread
from workbench.scaling.forecast import STANDING, Form, forecast
from workbench.scaling.laws import Count, KaplanLaw, Law, effective_tokens

AHEAD, PART = 8.0, 0.02
"""Forms that part by more at so much more compute are told."""


@dataclass(frozen=True)
class Report:
    """A fit and all that is said of it. Intervals are by name: the five coefficients, and `a` and `b`, the
    exponents of N_opt and D_opt in C. `runs` are as they were, `points` with tokens for what they are
    worth; `joint` is the second form of law, and `backtests` are of both."""

    runs: tuple[Point, ...]
    points: Points
    fit: Fit
    bootstrap: Bootstrap[Law]
    joint: JointFit
    joint_bootstrap: Bootstrap[KaplanLaw]
    backtests: tuple[Backtest, ...]
    intervals: dict[str, Interval]
    level: float
    isoflop: IsoFlop
    isoflop_intervals: dict[str, Interval]
    ratios: tuple[RatioCurve, ...]
    residuals: tuple[Residual, ...]
    r_squared: float
    left_out: LeftOut | None
    doubts: tuple[str, ...]
    repeats_counted: bool

    @property
    def flops_per_parameter(self) -> float:
        """κ of C = κ·N·D, of tokens as they were read: those seen again take as much as new ones."""
        return points_of(self.runs).flops_per_parameter

    @property
    def forms(self) -> tuple[Form, ...]:
        """Both forms, for predictions."""
        rho = rates(self.backtests)
        return (
            Form("additive", self.fit.law, self.bootstrap, rho.get("additive")),
            Form("joint", self.joint.law, self.joint_bootstrap, rho.get("joint")),
        )


@on_one_thread
def report_on(
    runs: Sequence[Point],
    count: Count,
    *,
    where: str,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    delta: float = DELTA,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Fit all that can be fitted to these runs. Tokens seen again count for what they are worth (see
    `effective_tokens`). Raises `DataError` where there are too few."""
    raw = points_of(runs)
    require_enough(raw, where)
    repeated = any(run.epochs > 1 for run in runs)
    points = points_of([_worth(run) for run in runs]) if repeated else raw
    fit = fit_law(points, count, delta=delta)
    drawn = bootstrap(points, fit, resamples=resamples, seed=seed, delta=delta, progress=progress)
    intervals = {
        name: drawn.interval(lambda law, name=name: law.coefficients()[name], level)  # type: ignore[misc]
        for name in fit.law.coefficients()
    }
    intervals["a"] = drawn.interval(lambda law: law.parameters_exponent, level)
    intervals["b"] = drawn.interval(lambda law: law.tokens_exponent, level)
    joint = fit_joint(points, count, delta=delta)
    report = Report(
        runs=raw.runs,
        points=points,
        fit=fit,
        bootstrap=drawn,
        joint=joint,
        # The joint form only widens predictions: a quarter of the draws will do for that.
        joint_bootstrap=bootstrap_joint(
            points, joint, resamples=max(20, resamples // 4), seed=seed, delta=delta
        ),
        backtests=backtests(points, count, delta=delta),
        intervals=intervals,
        level=level,
        isoflop=fit_isoflop(raw),
        isoflop_intervals=_isoflop_intervals(raw, resamples, level, seed),
        ratios=fit_ratios(runs),
        residuals=residuals(points, fit),
        r_squared=r_squared(points, fit),
        left_out=leave_largest_out(points, delta=delta),
        doubts=tuple(doubts(points, fit, intervals)),
        repeats_counted=repeated,
    )
    return replace(report, doubts=(*report.doubts, *doubts_of_form(report)))


def doubts_of_form(report: Report) -> list[str]:
    """What the two forms, and the tests of them, leave open."""
    found = []
    if not report.backtests:
        found.append(
            "too few budgets to test the forms of law beyond their runs: how far each errs there is assumed"
        )
    elif len(report.backtests) == len(FORMS):
        found.append(
            "each form of law was tested once: how far it errs beyond the runs is one number, perhaps small "
            "by chance, and intervals are as sure as that; one budget more would tell"
        )
    law, points = report.fit.law, report.points
    flops, per = float(points.flops.max()) * AHEAD, report.flops_per_parameter
    ahead = forecast(
        report.forms,
        parameters=float(law.optimal_parameters(flops, per)),
        tokens=float(law.optimal_tokens(flops, per)),
        factor=AHEAD,
        level=report.level,
    )
    if ahead.apart > PART and min(ahead.weights.values()) >= STANDING:
        found.append(
            f"at {AHEAD:.0f}× the compute the two forms of law, which fit these runs about alike, part by "
            f"{ahead.apart:.1%}: more budgets would tell which holds"
        )
    return found


def _worth(run: Point) -> Point:
    if run.unique is None:
        return run
    return replace(run, tokens=float(effective_tokens(run.tokens, run.unique)))


def _isoflop_intervals(points: Points, resamples: int, level: float, seed: int) -> dict[str, Interval]:
    """Intervals of the exponents of approach 2, where enough draws give any."""
    rng = np.random.default_rng((seed, 2))
    found: dict[str, list[float]] = {"a": [], "b": []}
    for _ in range(resamples):
        drawn = fit_isoflop(points.take(rng.integers(0, len(points), len(points))))
        if drawn.parameters is not None and drawn.tokens is not None:
            found["a"].append(drawn.parameters.exponent)
            found["b"].append(drawn.tokens.exponent)
    if len(found["a"]) < resamples / 2:
        return {}
    edges = ((1 - level) / 2, (1 + level) / 2)
    return {
        name: (float(np.quantile(values, edges[0])), float(np.quantile(values, edges[1])))
        for name, values in found.items()
    }
