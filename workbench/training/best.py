"""What an evaluation is worth: which checkpoint is the best, and what there is to tell beside metrics."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from workbench.errors import TrainingError
from workbench.training.samples import append_line

if TYPE_CHECKING:
    from workbench.training.loop import Trainer


def write_report(trainer: Trainer, predictions: list[Any]) -> None:
    """A line of `evaluations.jsonl`, where the objective has more to tell than metrics."""
    if trainer.accelerator.is_main_process and predictions:
        found = trainer.objective.report(predictions)
        if found is not None:
            record = {"step": trainer.state.step, "time": time.time(), **found}
            append_line(trainer.run.evaluations_path, record)


def improves(trainer: Trainer, values: dict[str, float]) -> bool:
    """Whether an evaluation is of the best model so far, which is then noted in the state."""
    state, score = trainer.state, score_of(trainer, values)
    if not math.isfinite(score) or (state.best_score is not None and score <= state.best_score):
        return False
    state.best_score, state.best_eval_loss, state.best_step = score, values["eval_loss"], state.step
    return True


def score_of(trainer: Trainer, values: dict[str, float]) -> float:
    """What decides which checkpoint is best, greater being better; the same on all processes. Raises
    `TrainingError` where an evaluation does not have what the recipe wants."""
    wanted = trainer.recipe.training.metric_for_best_model
    name = wanted if wanted in values else f"eval_{wanted}"
    found = trainer.agreed(values.get(name))
    if found is None:
        raise TrainingError(
            f"training.metric_for_best_model is {wanted}, which an evaluation does not have",
            where=str(trainer.run.path),
            hint=f"one of: {', '.join(sorted(values))}",
        )
    lower = "loss" in name or "perplexity" in name or name == "bits_per_byte"
    return -float(found) if lower else float(found)
