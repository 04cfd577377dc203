"""How often a run evaluates and saves where its recipe does not say."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.recipe import TrainingSection

EVALUATIONS, CHECKPOINTS = 20, 10
"""In a run, where it is long enough for as many."""

EVALUATION_STEPS, LEAST_EVALUATIONS = 10, 4
"""Steps between two evaluations at least, unless the run would have fewer than so many of them."""

SAVE_SECONDS = 60.0
"""Between two checkpoints that nobody asked for: one of 135 million weights is 1.6 GB and takes five to eight
seconds to be on disk, which in a run of a few minutes was up to half of its time."""


def steps_between_evaluations(section: TrainingSection, max_steps: int, least: int = EVALUATION_STEPS) -> int:
    """The recipe's number, or a twentieth of the run; `least` is for short ones."""
    few = min(least, math.ceil(max_steps / LEAST_EVALUATIONS))
    return section.eval_steps or max(max_steps // EVALUATIONS, few)


class SaveTimes:
    """Says when a checkpoint is due for no other reason than time: after the recipe's number of steps; where
    it has none, after every tenth of the run, unless one was written in the last minute."""

    def __init__(self, section: TrainingSection, max_steps: int) -> None:
        self.steps = section.save_steps or max(1, max_steps // CHECKPOINTS)
        self._is_asked_for = section.save_steps is not None
        self._last = time.monotonic()

    def due(self, step: int) -> bool:
        """Whether one is to be written after `step`."""
        waited = time.monotonic() - self._last >= SAVE_SECONDS
        return step % self.steps == 0 and (self._is_asked_for or waited)

    def wrote(self) -> None:
        """One was written now, for whatever reason."""
        self._last = time.monotonic()
