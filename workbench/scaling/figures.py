"""The figures of a study as series of points, for the charts of the interface and of the commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from workbench.scaling.fit_file import from_dict
from workbench.scaling.fitting.points import SAME
from workbench.scaling.laws import FLOPS_PER_PARAMETER, Floats
from workbench.store.scaling_prediction import Predicted

MOST_SIZES = 8
"""Curves of sizes in a figure: more cannot be told apart."""
DENSE = 60


@dataclass(frozen=True, eq=False)
class Line:
    """One series: what it is called, its points, and how it is drawn."""

    label: str
    x: Floats
    y: Floats
    color: int | str
    marks: Literal["line", "points", "bars"] = "line"
    dashed: bool = False


@dataclass(frozen=True, eq=False)
class Figure:
    """Series with a title and named axes."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    log_x: bool = True
    log_y: bool = False


def loss_figure(fit: Mapping[str, Any], predicted: Sequence[Predicted] = ()) -> Figure:
    """Loss against compute: the runs of each size, the law's curve of that size, the frontier, and runs that
    the law predicted, with their intervals and the losses that they came to."""
    law, per = from_dict(fit).law, float(fit["flops_per_parameter"])
    points = fit["points"]
    low, high = min(p["flops"] for p in points), max(p["flops"] for p in points)
    lines = []
    sizes = _sizes(points)
    for number, own in enumerate(_spread(sizes)):
        n = float(np.exp(np.mean([np.log(p["parameters"]) for p in own])))
        xs = np.array([p["flops"] for p in own])
        # A size's own curve goes a little beyond its runs, so that curves cross where they should.
        compute = np.geomspace(max(low, xs.min() / 2), min(high * 2, xs.max() * 2), DENSE)
        label = short(n)
        lines.append(Line(label, xs, np.array([p["loss"] for p in own]), number + 1, "points"))
        lines.append(Line("", compute, law.loss(n, compute / per / n), number + 1, dashed=True))
    farthest = max([high * 8, *(one.prediction.flops for one in predicted)])
    compute = np.geomspace(low, farthest * 1.25, DENSE)
    lines.append(Line("frontier", compute, law.optimal_loss(compute, per), 0))
    for one in predicted:
        at, made = one.prediction.flops, one.prediction
        lines.append(Line("", np.array([at, at]), np.array([made.low, made.high]), 0, "bars"))
    reached = [(one.prediction.flops, one.outcome.loss) for one in predicted if one.outcome is not None]
    if reached:
        x, y = np.array(sorted(reached)).T
        lines.append(Line("reached", x, y, "red", "points"))
    return Figure("loss by compute", "FLOPs", "nats a token, a size each", tuple(lines), log_y=True)


def isoflop_figure(fit: Mapping[str, Any]) -> Figure:
    """Loss against size at each compute budget, with the parabolas and their minima."""
    lines = []
    by_name = {p["name"]: p for p in fit["points"]}
    least: list[tuple[float, float]] = []
    for number, parabola in enumerate(fit["isoflop"]["parabolas"]):
        own = [by_name[name] for name in parabola["runs"] if name in by_name]
        sizes = np.array([p["parameters"] for p in own])
        losses = np.array([p["loss"] for p in own])
        lines.append(Line(f"{parabola['flops']:.1e}", sizes, losses, number, "points"))
        places = np.geomspace(parabola["smallest"], parabola["largest"], DENSE)
        square, slope, constant = parabola["coefficients"]
        logs = np.log(places)
        lines.append(Line("", places, square * logs**2 + slope * logs + constant, number))
        if parabola["inside"]:
            least.append((parabola["parameters"], parabola["loss"]))
    if least:
        x, y = np.array(sorted(least)).T
        lines.append(Line("minima", x, y, 7, dashed=True))
    return Figure("IsoFLOP parabolas", "N", "nats a token, a budget each", tuple(lines))


def residual_figure(fit: Mapping[str, Any]) -> Figure:
    """Measured over predicted, less 1, in percent, against compute."""
    flops = {p["name"]: p["flops"] for p in fit["points"]}
    x = np.array([flops[one["name"]] for one in fit["residuals"]])
    y = np.array([100 * one["error"] for one in fit["residuals"]])
    ends = np.array([x.min(), x.max()])
    return Figure(
        "residuals",
        "FLOPs",
        "% over the law",
        (Line("runs", x, y, 0, "points"), Line("the law", ends, np.zeros(2), 1, dashed=True)),
    )


def emergence_figures(found: Mapping[str, Any]) -> tuple[Figure, Figure]:
    """Exact match, and nats for each answer token, against the compute of training; a curve for each number
    of steps."""
    exact: list[Line] = []
    likely: list[Line] = []
    models = sorted(found["models"], key=compute_of)
    kinds = sorted({row["steps"] for model in models for row in model["rows"]})
    for number, steps in enumerate(kinds):
        rows = [
            (compute_of(model), row) for model in models for row in model["rows"] if row["steps"] == steps
        ]
        x = np.array([flops for flops, _ in rows])
        label = f"{steps} step{'s' * (steps > 1)}"
        for lines, name, scale in ((exact, "exact", 100.0), (likely, "per_token", 1.0)):
            y = np.array([scale * row[name] for _, row in rows])
            lines.append(Line(label, x, y, number))
            ends = np.array([[scale * end for end in row[f"{name}_interval"]] for _, row in rows])
            lines += [
                Line("", np.array([flops, flops]), two, number, "bars")
                for flops, two in zip(x, ends, strict=True)
            ]
    return (
        Figure("exact match", "FLOPs", "% of the held-out sums", tuple(exact)),
        Figure("log-likelihood", "FLOPs", "nats for each answer token", tuple(likely)),
    )


def compute_of(model: Mapping[str, Any]) -> float:
    """Of a model's training; evaluations of older versions did not keep it."""
    return float(model.get("flops") or FLOPS_PER_PARAMETER * model["parameters"] * model.get("tokens", 1.0))


def _sizes(points: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """The runs by size, small ones first."""
    groups: list[list[Mapping[str, Any]]] = []
    for point in sorted(points, key=lambda p: float(p["parameters"])):
        if groups and point["parameters"] / groups[-1][0]["parameters"] <= SAME:
            groups[-1].append(point)
        else:
            groups.append([point])
    return groups


def _spread(groups: list[list[Mapping[str, Any]]]) -> list[list[Mapping[str, Any]]]:
    """At most `MOST_SIZES` of them: neighbours stand together where there are more."""
    if len(groups) <= MOST_SIZES:
        return groups
    edges = np.linspace(0, len(groups), MOST_SIZES + 1).round().astype(int)
    return [
        [point for group in groups[first:last] for point in group]
        for first, last in zip(edges, edges[1:], strict=False)
        if last > first
    ]


def short(value: float) -> str:
    """A count in a few characters: 96k, 1.2M."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.0f}"
