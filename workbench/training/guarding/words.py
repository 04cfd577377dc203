"""Alarms in words: what happened, why that probably is, what to try."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.training.guarding.alarm import Alarm, Trace
    from workbench.training.guarding.losses import Outlier

NOTABLE = 5.0
"""A gradient so many times the usual one is named as a sign."""

LOOK = "Look at the rows that were left out: workbench runs events RUN --rows."
LOWER = "a lower training.learning_rate or a longer training.warmup_ratio"


def happened(alarm: Alarm) -> str:
    """What was seen, with its numbers."""
    numbers, step = alarm.numbers, alarm.step
    if alarm.kind == "loss_not_finite":
        return f"The loss became {numbers['loss']} at step {step:,}."
    if alarm.kind == "gradient_not_finite":
        norm, loss = numbers["grad_norm"], numbers["loss"]
        return f"The gradient became {norm} at step {step:,}; the loss was {loss:.4g}."
    loss, level, limit = numbers["loss"], numbers["level"], numbers["limit"]
    if alarm.kind == "divergence":
        return (
            f"The loss is {loss:.4g} at step {step:,} and has stayed above {limit:.4g} for eight steps; "
            f"its best level was {level:.4g}, at step {alarm.first_bad - 1:,}."
        )
    since = numbers["onset"]
    return (
        f"The loss rose to {loss:.4g} at step {step:,}. It has been high since step {since:,}: before, it "
        f"lay at {level:.4g}, and {limit:.4g} was the most that could pass for noise."
    )


def why(alarm: Alarm, gradients: Mapping[str, float]) -> str:
    """What that probably comes from, by the gradients of the steps around it."""
    if alarm.kind == "loss_not_finite":
        if _is_big(alarm.trace[:-1]):
            return _of_gradient(alarm.trace[:-1], gradients) + " It has probably broken the weights."
        return (
            "The gradients before were ordinary, so the weights were sound: most likely the rows of this "
            "step hold what the model cannot take, or a number overflowed in them."
        )
    if alarm.kind == "gradient_not_finite":
        return (
            "The loss was a number, so something overflowed on the way back: large logits, or half precision."
        )
    if alarm.kind == "divergence":
        return "A slow rise is seldom the data: the learning rate is too high for where the weights are now."
    if _is_big(alarm.trace):
        return _of_gradient(alarm.trace, gradients) + (
            " Either these rows are unlike all others, or the learning rate is too high for them."
        )
    return (
        "The gradients were ordinary when it began: most likely rows that are unlike the others (broken "
        "text, another language, wrong labels)."
    )


def advice(alarm: Alarm) -> str:
    """What a person may try."""
    if alarm.kind == "gradient_not_finite":
        return (
            f"If it comes back: {LOWER}, training.bf16=true in the place of fp16, or stability.z_loss=1e-4."
        )
    if alarm.kind == "divergence":
        return f"If it comes back: {LOWER}, or stability.z_loss=1e-4 and model.qk_norm=true in a new run."
    if alarm.kind == "loss_not_finite":
        return f"{LOOK} If it comes back elsewhere: {LOWER}."
    return (
        f"{LOOK} If spikes come back: {LOWER}, stability.z_loss=1e-4, or, in a new run, "
        "model.qk_norm=true. If the data itself changes here, as where sources are not shuffled: "
        "stability.guard=warn."
    )


def outlier(found: Outlier) -> str:
    """A note on one wild loss."""
    return (
        f"The loss of step {found.step:,} was {found.loss:.4g}; it lay at {found.level:.4g} before, and was "
        "ordinary again soon after."
    )


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def _usual(trace: tuple[Trace, ...]) -> float | None:
    """The median of the gradients that are remembered."""
    known = [entry.gradient for entry in trace if entry.gradient is not None]
    known = [value for value in known if math.isfinite(value)]
    return median(known) if len(known) >= 5 else None


def _greatest(trace: tuple[Trace, ...]) -> Trace | None:
    """The step with the greatest gradient of the last few."""
    known = [entry for entry in trace[-8:] if entry.gradient is not None]
    return max(known, key=lambda entry: entry.gradient or 0.0) if known else None


def _is_big(trace: tuple[Trace, ...]) -> bool:
    usual, greatest = _usual(trace), _greatest(trace)
    return bool(usual and greatest and (greatest.gradient or 0.0) > NOTABLE * usual)


def _of_gradient(trace: tuple[Trace, ...], gradients: Mapping[str, float]) -> str:
    """What is notable of the gradients."""
    usual, greatest = _usual(trace), _greatest(trace)
    assert usual and greatest is not None and greatest.gradient is not None
    text = (
        f"The gradient of step {greatest.step:,} was {greatest.gradient / usual:.0f} times the usual "
        f"({_number(greatest.gradient)} against {usual:.3g})"
    )
    if gradients:
        most = max(gradients, key=lambda name: gradients[name])
        text += f"; at the last line of metrics most of it was in: {most}"
    return text + "."
