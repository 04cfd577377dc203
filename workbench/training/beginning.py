"""A run before its first step, as its objective asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from workbench.objectives.beginning import Beginning
from workbench.training import random_state
from workbench.training.starting_model import other_model, starting_model
from workbench.training.stop import Stopped

if TYPE_CHECKING:
    from workbench.models.purpose import Purpose
    from workbench.objectives import Rows
    from workbench.training.loop import Trainer


def beginning_of(trainer: Trainer, held_out: Rows, purpose: Purpose, *, has_moved: bool) -> Beginning:
    """What `Objective.begin` gets; `has_moved`: the model is that of a checkpoint."""
    recipe, stop, section = trainer.recipe, trainer.stop, trainer.recipe.training

    def fresh(name: str | None = None) -> Any:
        # Adapters are drawn anew, and thrown away; what is random later must not notice.
        before = random_state.capture()
        model = (
            starting_model(recipe, trainer.tokenizer, purpose, None)
            if name is None
            else other_model(recipe, name, purpose)
        )
        random_state.restore(before)
        return model

    def leave() -> NoReturn:
        raise Stopped

    return Beginning(
        model=trainer.model,
        fresh=fresh,
        has_moved=has_moved,
        accelerator=trainer.accelerator,
        rows=trainer.rows,
        num_rows=trainer.max_steps * trainer.rows_per_step,
        batch_size=section.per_device_train_batch_size,
        held_out=held_out,
        num_held_out=0 if trainer.evaluator is None else trainer.evaluator.num_rows,
        held_out_batch_size=section.per_device_eval_batch_size or section.per_device_train_batch_size,
        data_key=trainer.state.data_key,
        folder=trainer.run.path,
        progress=trainer.reporter.progress,
        is_stopping=lambda: bool(stop),
        leave=leave,
    )
