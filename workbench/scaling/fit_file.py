"""A fit as plain values, for `fit.json`, `--json` and the interface; and the law back from them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from workbench.scaling.fitting.backtest import rates
from workbench.scaling.fitting.bootstrap import Bootstrap
from workbench.scaling.fitting.points import Point
from workbench.scaling.fitting.report import Report
from workbench.scaling.forecast import Form, weights_of
from workbench.scaling.laws import Count, Floats, KaplanLaw, Law
from workbench.scaling.published import published_laws

VERSION = 3
CHINCHILLA_FLOPS = 5.76e23
"""What Gopher and Chinchilla took (Hoffmann et al. 2022, section 3.4)."""


def as_dict(report: Report, left_out: Mapping[str, str]) -> dict[str, Any]:
    """All of a report; `left_out` says which runs were not fitted, and why."""
    law, points = report.fit.law, report.points
    per = report.flops_per_parameter
    largest = float(points.flops.max())
    compute = [float(value) for value in np.geomspace(float(points.flops.min()), largest, 12)]
    return {
        "version": VERSION,
        "made": time.time(),
        "count": law.count,
        "coefficients": law.coefficients(),
        "exponents": {"a": law.parameters_exponent, "b": law.tokens_exponent},
        "intervals": {name: list(interval) for name, interval in report.intervals.items()},
        "level": report.level,
        "objective": report.fit.objective,
        "r_squared": report.r_squared,
        "flops_per_parameter": per,
        "repeats_counted": report.repeats_counted,
        # Tokens as they were read, and what they were worth where some were read again.
        "points": [
            {**asdict(run), "worth": worth.tokens}
            for run, worth in zip(report.runs, points.runs, strict=True)
        ],
        "left_out": dict(left_out),
        "residuals": [
            {"name": one.run.name, "predicted": one.predicted, "error": one.error} for one in report.residuals
        ],
        "leave_largest_out": None
        if report.left_out is None
        else {
            "runs": list(report.left_out.runs),
            "errors": list(report.left_out.errors),
            "worst": report.left_out.worst,
            "factor": report.left_out.factor,
        },
        "doubts": list(report.doubts),
        "frontier": [
            {
                "flops": flops,
                "parameters": float(law.optimal_parameters(flops, per)),
                "tokens": float(law.optimal_tokens(flops, per)),
                "loss": float(law.optimal_loss(flops, per)),
            }
            for flops in [*compute, largest * 8, largest * 64]
        ],
        "isoflop": {
            "parabolas": [asdict(parabola) for parabola in report.isoflop.parabolas],
            "parameters": asdict(report.isoflop.parameters) if report.isoflop.parameters else None,
            "tokens": asdict(report.isoflop.tokens) if report.isoflop.tokens else None,
            "intervals": {name: list(interval) for name, interval in report.isoflop_intervals.items()},
        },
        "fixed_ratio": [asdict(curve) for curve in report.ratios],
        "published": [
            {
                "name": one.name,
                "source": one.source,
                "coefficients": one.law.coefficients() if isinstance(one.law, Law) else None,
                "a": one.law.parameters_exponent if isinstance(one.law, Law) else None,
                "count": one.law.count,
                "tokens_per_parameter": float(
                    one.law.optimal_tokens(CHINCHILLA_FLOPS) / one.law.optimal_parameters(CHINCHILLA_FLOPS)
                ),
            }
            for one in published_laws()
        ],
        "bootstrap": [[*one.coefficients().values()] for one in report.bootstrap.laws],
        "scatter": [float(value) for value in report.bootstrap.scatter],
        "joint": {
            "coefficients": report.joint.law.coefficients(),
            "objective": report.joint.objective,
            "worst_residual": float(
                np.abs(points.loss / report.joint.law.loss(points.parameters, points.tokens) - 1).max()
            ),
            "bootstrap": [[*one.coefficients().values()] for one in report.joint_bootstrap.laws],
            "scatter": [float(value) for value in report.joint_bootstrap.scatter],
        },
        "backtests": [asdict(test) for test in report.backtests],
        "rates": rates(report.backtests),
        "weights": weights_of(report.forms),
    }


@dataclass(frozen=True)
class Fitted:
    """A law out of its file, with what a prediction needs beside."""

    law: Law
    forms: tuple[Form, ...]
    level: float
    flops_per_parameter: float
    largest: float
    """The most compute of a run that it was fitted to."""


def from_dict(value: Mapping[str, Any]) -> Fitted:
    """The law of a fit. Raises `KeyError`, `TypeError` or `ValueError` where the file was damaged."""
    count: Count = value["count"]
    law = Law(**value["coefficients"], count=count)
    laws = tuple(Law(e, a, b, alpha, beta, count) for e, a, b, alpha, beta in value["bootstrap"])
    joint, rho = value["joint"], value["rates"]
    return Fitted(
        law,
        (
            Form("additive", law, Bootstrap(laws, _array(value["scatter"])), rho.get("additive")),
            Form(
                "joint",
                _kaplan(list(joint["coefficients"].values()), count),
                Bootstrap(tuple(_kaplan(one, count) for one in joint["bootstrap"]), _array(joint["scatter"])),
                rho.get("joint"),
            ),
        ),
        float(value["level"]),
        float(value["flops_per_parameter"]),
        max(float(point["flops"]) for point in value["points"]),
    )


def _array(values: Any) -> Floats:
    return np.asarray(values, np.float64)


def _kaplan(values: Sequence[float], count: Count) -> KaplanLaw:
    """The law of coefficients in the order of `KaplanLaw.coefficients`."""
    floor, parameters_scale, tokens_scale, parameters_power, tokens_power = (float(one) for one in values)
    return KaplanLaw(parameters_scale, tokens_scale, parameters_power, tokens_power, count, floor)


def is_readable(value: Mapping[str, Any]) -> bool:
    """Whether a fit is of this version, and whole."""
    try:
        if value["version"] != VERSION:
            return False
        from_dict(value)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
    return True


def is_of(value: Mapping[str, Any], runs: Sequence[Point], count: Count) -> bool:
    """Whether a fit is to these runs as they are now."""
    if value.get("version") != VERSION or value.get("count") != count:
        return False
    known = {(point["name"], round(float(point["loss"]), 9)) for point in value["points"]}
    return known == {(run.name, round(run.loss, 9)) for run in runs}
