"""Planted laws are found again, and what the runs cannot tell is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from workbench.errors import DataError
from workbench.scaling.fitting.backtest import backtests
from workbench.scaling.fitting.bootstrap import bootstrap
from workbench.scaling.fitting.fixed_ratio import fit_ratios
from workbench.scaling.fitting.isoflop import fit_isoflop
from workbench.scaling.fitting.joint import fit_joint
from workbench.scaling.fitting.parametric import fit_law
from workbench.scaling.fitting.points import Point, points_of, read_points
from workbench.scaling.fitting.quality import leave_largest_out
from workbench.scaling.fitting.report import doubts_of_form, report_on
from workbench.scaling.forecast import forecast
from workbench.scaling.laws import KaplanLaw, Law

PLANTED = (
    Law(1.8172, 482.01, 2085.43, 0.3478, 0.3658),
    Law(1.69, 406.4, 410.7, 0.34, 0.28),
    Law(2.3, 30.0, 900.0, 0.2, 0.45),
)

JOINT = (
    KaplanLaw(1e8, 1e9, 0.3, 0.25, count="total", floor=1.2),
    KaplanLaw(2e7, 6e8, 0.2, 0.35, count="total", floor=0.5),
)


def grid(
    law: Law | KaplanLaw, low: float = 12, high: float = 14, noise: float = 0.0, seed: int = 0
) -> list[Point]:
    """Five compute budgets with four sizes about the optimum each."""
    rng = np.random.default_rng(seed)
    found = []
    for flops in np.logspace(low, high, 5):
        for factor in (0.25, 0.6, 1 / 0.6, 4.0):
            size = float(law.optimal_parameters(flops)) * factor
            tokens = float(flops) / 6 / size
            loss = float(law.loss(size, tokens)) * float(np.exp(noise * rng.normal()))
            found.append(Point(f"{flops:.1e}/{size:.0f}", size, tokens, loss, float(flops), float(flops)))
    return found


@pytest.mark.parametrize("law", PLANTED)
def test_points_of_a_known_law_give_its_coefficients(law: Law) -> None:
    found = fit_law(points_of(grid(law)), "total").law
    for name, value in law.coefficients().items():
        assert found.coefficients()[name] == pytest.approx(value, rel=1e-6), name


def test_one_wild_run_moves_the_law_hardly() -> None:
    law, runs = PLANTED[0], grid(PLANTED[0])
    runs[7] = Point("wild", runs[7].parameters, runs[7].tokens, runs[7].loss * 1.5, runs[7].flops)
    found = fit_law(points_of(runs), "total").law
    assert float(found.loss(1e6, 1e8)) == pytest.approx(float(law.loss(1e6, 1e8)), rel=1e-3)


def test_the_minima_of_parabolas_of_a_symmetric_law_lie_on_its_frontier() -> None:
    # With α = β the loss at fixed compute is even in log N about the optimum: the parabola's minimum is it.
    law = Law(1.8, 400.0, 900.0, 0.35, 0.35)
    found = fit_isoflop(points_of(grid(law)))
    assert len(found.parabolas) == 5 and found.parameters is not None and found.tokens is not None
    for parabola in found.parabolas:
        assert parabola.inside
        assert parabola.parameters == pytest.approx(float(law.optimal_parameters(parabola.flops)), rel=1e-6)
    assert found.parameters.exponent == pytest.approx(0.5, abs=1e-6)
    assert found.tokens.exponent == pytest.approx(0.5, abs=1e-6)


def test_a_level_without_a_valley_has_no_minimum() -> None:
    runs = [
        Point(str(n), n, 1e12 / 6 / n, loss, 1e12, 1e12) for n, loss in ((1e4, 3.0), (1e5, 4.0), (1e6, 3.5))
    ]
    (parabola,) = fit_isoflop(points_of(runs)).parabolas
    assert parabola.parameters is None and not parabola.inside


def test_a_curve_at_a_fixed_ratio_is_recovered() -> None:
    runs = [
        Point(str(flops), (flops / 120) ** 0.5, 20 * (flops / 120) ** 0.5, 2 + 50 / flops**0.15, flops)
        for flops in np.logspace(11, 15, 6)
    ]
    (curve,) = fit_ratios(runs)
    assert curve.ratio == pytest.approx(20)
    floor = curve.E
    assert floor == pytest.approx(2, rel=1e-3)
    assert curve.gamma == pytest.approx(0.15, rel=1e-3)
    assert curve.worst < 1e-5


def test_intervals_hold_the_planted_coefficients_and_come_out_the_same_again() -> None:
    law = PLANTED[0]
    runs = grid(law, noise=0.002)
    report = report_on(runs, "total", where="here", resamples=60)
    # 95 % intervals of five numbers from one draw: all but at most one hold theirs.
    missed = [
        name
        for name, value in law.coefficients().items()
        if not report.intervals[name][0] <= value <= report.intervals[name][1]
    ]
    assert len(missed) <= 1
    assert report.intervals["a"][0] <= law.parameters_exponent <= report.intervals["a"][1]
    assert report.r_squared > 0.999
    assert bootstrap(report.points, report.fit, resamples=60).laws == report.bootstrap.laws
    ahead = forecast(report.forms, parameters=1e6, tokens=2e9, factor=120, level=0.95)
    assert ahead.low < float(law.loss(1e6, 2e9)) < ahead.high


@pytest.mark.parametrize("law", JOINT)
def test_points_of_the_joint_form_give_its_coefficients(law: KaplanLaw) -> None:
    found = fit_joint(points_of(grid(law)), "total").law
    for name, value in law.coefficients().items():
        assert found.coefficients()[name] == pytest.approx(value, rel=1e-5), name


@pytest.mark.parametrize("law", [PLANTED[0], JOINT[0]])
def test_the_form_that_holds_beyond_the_runs_has_the_weight(law: Law | KaplanLaw) -> None:
    report = report_on(grid(law, noise=0.001), "total", where="here", resamples=20)
    right, wrong = ("additive", "joint") if isinstance(law, Law) else ("joint", "additive")
    # Budgets 4 and 5 by 1 to 3, and 5 by 1 to 4, by each form.
    assert [(test.form, test.runs) for test in report.backtests[::2]] == [("additive", 12)] * 2 + [
        ("additive", 16)
    ]
    # One test alone is doubtful.
    once = doubts_of_form(replace(report, backtests=report.backtests[-2:]))
    assert any("tested once" in words for words in once) and not doubts_of_form(report)
    ahead = forecast(report.forms, parameters=1e6, tokens=2e9, factor=8, level=0.95)
    assert ahead.weights[right] > 0.9 > 0.1 > ahead.weights[wrong]
    assert ahead.low < float(law.loss(1e6, 2e9)) < ahead.high


def test_forms_that_were_not_tested_stand_both_in_the_interval() -> None:
    report = report_on(grid(PLANTED[0])[::3][:6], "total", where="here", resamples=20)
    assert report.backtests == () and any("too few budgets" in words for words in report.doubts)
    ahead = forecast(report.forms, parameters=1e7, tokens=2e10, factor=100, level=0.95)
    assert ahead.weights == {"additive": 0.5, "joint": 0.5}
    assert all(ahead.low <= loss <= ahead.high for loss in ahead.forms.values())
    # Untested forms err by 0.02 for each factor e at the least.
    assert np.log(ahead.high / ahead.loss) >= 1.95 * 0.02 * np.log(100)


def test_what_a_curve_says_is_not_tested_by_two_budgets() -> None:
    three = grid(PLANTED[0])[:12]
    assert len({run.level for run in three}) == 3 and backtests(points_of(three), "total") == ()
    # Runs without budgets are parted by compute.
    free = [replace(run, level=None) for run in grid(PLANTED[0])]
    assert {test.runs for test in backtests(points_of(free), "total")} == {12, 16}


def test_the_largest_are_predicted_by_the_others() -> None:
    left = leave_largest_out(points_of(grid(PLANTED[0])))
    assert left is not None and len(left.runs) == 4
    assert abs(left.worst) < 1e-9
    assert left.factor == pytest.approx(10**0.5)


def test_repeated_tokens_count_for_what_they_are_worth() -> None:
    law = PLANTED[0]
    runs = grid(law)
    unique = 2e6
    seen = [
        Point(run.name, run.parameters, run.tokens, law.loss_with_repeats(run.parameters, run.tokens, unique),
              run.flops, run.level, min(unique, run.tokens))
        for run in runs
    ]  # fmt: skip
    report = report_on(seen, "total", where="here", resamples=5)
    assert report.repeats_counted
    # What was read is kept beside what it was worth.
    assert [run.tokens for run in report.runs] == [run.tokens for run in seen]
    assert max(run.tokens / worth.tokens for run, worth in zip(seen, report.points.runs, strict=True)) > 1.1
    assert report.fit.law.alpha == pytest.approx(law.alpha, rel=1e-6)
    # What is read again takes as much compute as what is new.
    assert report.flops_per_parameter == pytest.approx(6.0)
    assert report.points.flops_per_parameter > 6.1


def test_too_few_runs_are_refused_saying_what_is_missing() -> None:
    runs = grid(PLANTED[0])[:4]
    few = report_on(grid(PLANTED[0])[:8], "total", where="study", resamples=20)
    assert any("8 runs for five coefficients" in words for words in few.doubts)
    with pytest.raises(DataError, match=r"6 finished runs \(there are 4\)"):
        report_on(runs, "total", where="study")
    same = [Point(str(i), 1e6, 1e7 * 2**i, 3.0 - 0.1 * i, 6e13 * 2**i) for i in range(8)]
    with pytest.raises(DataError, match=r"3 different sizes \(there are 1\)"):
        report_on(same, "total", where="study")


def test_what_the_runs_cannot_tell_is_said() -> None:
    law = PLANTED[0]
    sizes = (1e6, 1.3e6, 1.7e6)
    runs = [
        Point(f"{n}-{d}", n, d, float(law.loss(n, d)), 6 * n * d) for n in sizes for d in np.logspace(7, 9, 4)
    ]
    report = report_on(runs, "total", where="study", resamples=20)
    assert any("sizes differ by 1.7×" in words for words in report.doubts)


def test_points_are_read_from_a_table(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("N,D,loss\n1e6,2e7,3.5\n2e6,2e7,3.25\n")
    first, second = read_points(path)
    assert (first.parameters, second.loss, first.flops) == (1e6, 3.25, 1.2e14)
    # Names of runs may go over lines; what is wrong is named by its own line all the same.
    path.write_text('run,N,D,loss\n"a\nb",1e6,2e7,3.5\nc,2e6,2e7,3.25\n')
    assert [point.name for point in read_points(path)] == ["a\nb", "c"]
    path.write_text("N,D,loss\n1e6,2e7,3.5\n2e6,none,3.25\n")
    with pytest.raises(DataError) as caught:
        read_points(path)
    assert caught.value.where.endswith("runs.csv:3")
    path.write_text("N,loss\n1e6,3.5\n")
    with pytest.raises(DataError, match="no column for tokens"):
        read_points(path)
