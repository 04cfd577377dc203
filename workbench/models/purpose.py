"""What a model is for, which decides its last layer."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.recipe.families import TASKS, ObjectiveName


@dataclass(frozen=True)
class Purpose:
    """An objective, and what its head must know: the labels found in the data (classification, tagging),
    whether pairs of segments are told apart (BERT)."""

    objective: ObjectiveName
    labels: tuple[str, ...] = ()
    next_sentence_prediction: bool = False

    @property
    def is_task(self) -> bool:
        """Whether the head is one of few outputs, that of a task on labelled records or of a reward model."""
        return self.objective in TASKS or self.objective == "reward"
