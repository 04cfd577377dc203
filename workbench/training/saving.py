"""What a run leaves on disk as it goes: checkpoints, those that are kept, and the model of the best one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelerate.utils import gather_object

from workbench.training import checkpoint, random_state
from workbench.training.guarding.rollback import protected
from workbench.training.parallel import sharded_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from workbench.recipe import Recipe
    from workbench.store.runs import Run
    from workbench.training.loop import Trainer
    from workbench.training.state import TrainState


def save(trainer: Trainer) -> None:
    """Write a checkpoint of the present step and delete those that are too many; on all processes."""
    state, accelerator, run, layout = trainer.state, trainer.accelerator, trainer.run, trainer.layout
    target = run.path / f"checkpoint-{state.step}"
    state.window = trainer.window.values.tolist()
    state.guard = trainer.guard.state_dict()
    random_states = [random_state.capture()]
    if accelerator.num_processes > 1:
        random_states = gather_object(random_states)
    if not layout.is_plain:
        # What follows from the weights takes all who have some of them.
        trainer.objective.before_saving(trainer.model)
    if accelerator.is_main_process:
        doing = trainer.reporter.status.state
        trainer.reporter.update(state="saving")
        if layout.is_plain:
            trainer.objective.before_saving(trainer.model)
        if trainer.metrics is not None:
            # What was logged up to here must be on disk before the step it will be resumed from.
            trainer.metrics.sync()
        scaler = accelerator.scaler
        checkpoint.save(
            target,
            model=trainer.model,
            tokenizer=trainer.tokenizer,
            optimizer=trainer.raw_optimizer,
            state=state,
            random_states=random_states,
            extra={
                "layout": layout.as_dict(),
                **({} if scaler is None else {"scaler": scaler.state_dict()}),
            },
            parts=None if layout.is_plain else lambda folder: _save_parts(trainer, folder),
        )
        prune(run, state, trainer.recipe, target, protected(trainer))
        trainer.reporter.update(state=doing)
    elif not layout.is_plain:
        _save_parts(trainer, checkpoint.temporary_of(target))
    accelerator.wait_for_everyone()


def _save_parts(trainer: Trainer, folder: Path) -> None:
    """Every rank's part of model and optimiser, into the folder that the main process has made."""
    trainer.accelerator.wait_for_everyone()
    sharded_checkpoint.save(
        folder / sharded_checkpoint.FOLDER,
        trainer.stepper,
        trainer.raw_optimizer,
        adapters=trainer.recipe.tuning.is_adapter,
    )
    if not trainer.accelerator.is_main_process:
        checkpoint.sync(folder / sharded_checkpoint.FOLDER)
    trainer.accelerator.wait_for_everyone()


def prune(run: Run, state: TrainState, recipe: Recipe, newest: Path, good: Collection[Path] = ()) -> None:
    """Delete checkpoints beyond the recipe's limit, never the newest, the best, nor those of `good`."""
    keep = {newest, run.path / f"checkpoint-{state.best_step}", *good}
    checkpoint.prune(run.checkpoints(), recipe.training.save_total_limit, keep)


def write_final(
    run: Run,
    state: TrainState,
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase | None = None,
    fresh: Callable[[Path | None], nn.Module] | None = None,
    instead: Path | None = None,
) -> None:
    """Write `final/`: the best checkpoint's model if the recipe asks for that one, or that of `instead`, or
    the last one's. Where it is in parts they are put together in a model that `fresh` makes."""
    best = state.best_step if recipe.training.load_best_model_at_end else None
    source = run.path / f"checkpoint-{state.step if best is None else best}"
    if best is None and instead is not None:
        source = instead
    if not source.is_dir():
        # The best one can be missing when a person deleted it; the newest is what there is.
        source = run.checkpoints()[-1]
    if sharded_checkpoint.is_sharded(source):
        assert tokenizer is not None and fresh is not None
        sharded_checkpoint.write_whole(source, run.final_path, fresh(None), tokenizer)
    else:
        checkpoint.copy_model(source, run.final_path)
    print(f"final/ is the model of step {source.name.rpartition('-')[2]}", flush=True)
