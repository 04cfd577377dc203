"""The loss of a run before it begins, with an interval, and the way there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench import paths
from workbench.scaling.fit_file import Fitted
from workbench.scaling.forecast import forecast
from workbench.scaling.laws import AnyLaw, effective_tokens
from workbench.store.runs import Run
from workbench.store.scaling_prediction import Prediction

if TYPE_CHECKING:
    from workbench.scaling.fitting.points import Point

PLACES = 60
"""Points of a predicted curve."""
LIKE = 0.5
"""Runs of at least so much of the largest compute lend their shape."""

Curve = Callable[[float], float]
"""The share of all that will be learned that is still to be learned, by the share of steps done: 1 … 0."""


def predict(
    fitted: Fitted,
    *,
    parameters: float,
    tokens: float,
    flops: float,
    step: int,
    law: str,
    unique: float | None = None,
    shape: Sequence[tuple[float, float]] = (),
) -> Prediction:
    """The loss of one more run by both forms of a study's law: N as the law counts, D tokens, `unique` of
    them different, in `step` optimiser steps. `shape` is of `learning_shape`."""
    worth = float(effective_tokens(tokens, unique)) if unique else tokens

    factor = flops / fitted.largest
    found = forecast(fitted.forms, parameters=parameters, tokens=worth, factor=factor, level=fitted.level)
    return Prediction(
        found.loss,
        found.low,
        found.high,
        fitted.level,
        step,
        tokens,
        parameters,
        flops,
        law,
        factor=factor,
        made=time.time(),
        curve=curve_of(found.loss, fitted.law.E, step, shape),
        forms=found.forms,
    )


def predict_by(
    law: AnyLaw,
    *,
    parameters: float,
    tokens: float,
    flops: float,
    step: int,
    name: str,
    unique: float | None = None,
) -> Prediction:
    """The same by a published law, of whose certainty nothing is known: the interval is the loss itself."""
    loss = law.loss_with_repeats(parameters, tokens, unique or tokens)
    return Prediction(loss, loss, loss, 0.0, step, tokens, parameters, flops, name, made=time.time())


def learning_shape(runs: Sequence[Point], floor: float) -> list[tuple[float, float]]:
    """How the held-out loss of a study's largest runs fell on their way: (share of the steps, excess over the
    floor E as a multiple of that at the end), the geometric mean of those runs.

    Runs of one family whose learning rate decays to the end of each have nearly the same curve in these
    coordinates (Qiu et al. 2025, “Scaling collapse”), so it is that of the next larger one too.
    """
    from workbench.store.metrics import read_metrics

    largest = max((run.flops for run in runs), default=0.0)
    ways = []
    for run in runs:
        if run.flops < LIKE * largest or run.loss <= floor:
            continue
        steps, losses = read_metrics(Run(paths.runs_dir() / run.name).metrics_path).series("eval_loss")
        good = np.isfinite(losses) & (losses > floor)
        if good.sum() >= 4:
            share = steps[good] / steps[good][-1]
            ways.append((share, np.log((losses[good] - floor) / (run.loss - floor))))
    if not ways:
        return []
    # Before the first evaluation nothing is known: the curve begins where all of them have one.
    places = np.linspace(max(float(share[0]) for share, _ in ways), 1.0, 20)
    mean = np.exp(np.mean([np.interp(places, share, excess) for share, excess in ways], axis=0))
    return [(float(place), float(value)) for place, value in zip(places, mean, strict=True)]


def curve_of(
    loss: float, floor: float, step: int, shape: Sequence[tuple[float, float]]
) -> tuple[tuple[float, float], ...]:
    """The curve that ends in a loss, as (step, loss); none where there is no shape to give it."""
    if not shape or loss <= floor:
        return ()
    places, values = np.array(shape).T
    at = np.linspace(places[0], 1.0, PLACES)
    excess = np.exp(np.interp(at, places, np.log(values)))
    return tuple(
        (float(round(share * step)), float(floor + (loss - floor) * value))
        for share, value in zip(at, excess, strict=True)
    )
