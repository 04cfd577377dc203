"""A run before its first step, as its objective asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from workbench.objectives.beginning import Beginning
from workbench.training import random_state
from workbench.training.starting_model import other_model, starting_model
from workbench.training.stop import Stopped

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from workbench.models.purpose import Purpose
    from workbench.objectives import Rows
    from workbench.recipe import Recipe
    from workbench.training.evaluate import Evaluator
    from workbench.training.loop import Trainer


def beginning_of(trainer: Trainer, held_out: Rows, purpose: Purpose, *, has_moved: bool) -> Beginning:
    """What `Objective.begin` gets; `has_moved`: the model is that of a checkpoint."""
    recipe, stop, section = trainer.recipe, trainer.stop, trainer.recipe.training

    def leave() -> NoReturn:
        raise Stopped

    return Beginning(
        model=trainer.model,
        fresh=_fresh(recipe, trainer.tokenizer, purpose),
        has_moved=has_moved,
        accelerator=trainer.accelerator,
        rows=trainer.rows,
        # From where the run stands: steps before may have been of another size, as of other processes.
        num_rows=trainer.guard.ledger.reach(
            trainer.state.rows, trainer.rows_per_step, trainer.max_steps - trainer.state.step
        ),
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


def evaluation_of(
    recipe: Recipe,
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    purpose: Purpose,
    rows: Rows,
    evaluator: Evaluator,
    data_key: str,
    folder: Path | None,
    progress: Callable[[str, int, int | None], Any],
) -> Beginning:
    """The same for a model that was trained already and is evaluated only, on all rows of `evaluator`;
    `rows` are the training rows, of which none are read; `folder` is that of its run, where it has one."""

    def leave() -> NoReturn:
        raise AssertionError("nobody asks an evaluation to stop")

    return Beginning(
        model=model,
        fresh=_fresh(recipe, tokenizer, purpose),
        has_moved=True,
        accelerator=evaluator.accelerator,
        rows=rows,
        num_rows=0,
        batch_size=recipe.training.per_device_train_batch_size,
        held_out=evaluator.rows,
        num_held_out=evaluator.num_rows,
        held_out_batch_size=evaluator.batch_size,
        data_key=data_key,
        folder=folder,
        progress=progress,
        is_stopping=lambda: False,
        leave=leave,
    )


def _fresh(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, purpose: Purpose) -> Callable[..., nn.Module]:
    def fresh(name: str | None = None) -> nn.Module:
        # Adapters are drawn anew, and thrown away; what is random later must not notice.
        before = random_state.capture()
        try:
            if name is not None:
                return other_model(recipe, name, purpose)
            return starting_model(recipe, tokenizer, purpose, None)
        finally:
            random_state.restore(before)

    return fresh
