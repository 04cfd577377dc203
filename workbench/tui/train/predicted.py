"""What was predicted of a run, as points for its charts: the way to the predicted loss, and its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.store.scaling_prediction import read_prediction

if TYPE_CHECKING:
    from workbench.store.growing import FloatArray
    from workbench.store.runs import Run
    from workbench.tui.train.axes import XAxis

METRIC = "eval_loss"
"""What is predicted."""
WAY, INTERVAL = "predicted", "interval"
PARTS = (WAY, INTERVAL)
"""Of a prediction, each a series of its own."""


def predicted_points(run: Run, axis: XAxis) -> dict[str, tuple[FloatArray, FloatArray]]:
    """By part, the points on this axis: of the way there, or its end where the way is not known, and of the
    interval (its two ends at one x). Nothing where nothing was predicted, or on the axis of time, of which
    nothing was."""
    prediction = read_prediction(run)
    if prediction is None or axis == "time":
        return {}
    scale = prediction.tokens_per_step if axis == "num_tokens" else 1.0
    end = prediction.step * scale
    x = np.array([step * scale for step, _ in prediction.curve] or [end])
    y = np.array([loss for _, loss in prediction.curve] or [prediction.loss])
    found = {WAY: (x, y)}
    if prediction.high > prediction.low:
        found[INTERVAL] = (np.array([end, end]), np.array([prediction.low, prediction.high]))
    return found
