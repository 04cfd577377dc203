"""Learning rate schedules, as pure functions of the step: there is no scheduler state to lose."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.recipe import TrainingSection


def warmup_steps(section: TrainingSection, max_steps: int) -> int:
    """Steps of warm-up: `warmup_steps`, or `warmup_ratio` of the run, rounded up."""
    if section.warmup_steps is not None:
        return min(section.warmup_steps, max_steps)
    return math.ceil(section.warmup_ratio * max_steps)


def learning_rate(section: TrainingSection, step: int, max_steps: int) -> float:
    """The learning rate of optimiser step `step`, counted from 0.

    Warm-up rises in equal parts to the peak, and its first step is not zero. After it: cosine or
    linear down to `min_lr_ratio` of the peak at the last step, constant, or WSD, which stays at the
    peak and falls linearly over the last `decay_ratio` of all steps (Hu et al. 2024, MiniCPM).
    """
    peak, floor = section.learning_rate, section.min_lr_ratio
    warm = warmup_steps(section, max_steps)
    if step < warm:
        return peak * (step + 1) / warm
    if section.lr_scheduler_type == "constant":
        return peak
    if section.lr_scheduler_type == "wsd":
        start = max(max_steps - math.ceil(section.decay_ratio * max_steps), warm) - 1
    else:
        start = warm
    progress = max(0, step - start) / max(1, max_steps - 1 - start)
    if section.lr_scheduler_type == "cosine":
        return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))
    return peak * (1 - (1 - floor) * min(progress, 1.0))
