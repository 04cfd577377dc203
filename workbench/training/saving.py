"""What a run leaves on disk as it goes: checkpoints, those that are kept, and the model of the best one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelerate.utils import gather_object

from workbench.training import checkpoint, random_state

if TYPE_CHECKING:
    from pathlib import Path

    from workbench.recipe import Recipe
    from workbench.store.runs import Run
    from workbench.training.loop import Trainer
    from workbench.training.state import TrainState


def save(trainer: Trainer) -> None:
    """Write a checkpoint of the present step and delete those that are too many; on all processes."""
    state, accelerator, run = trainer.state, trainer.accelerator, trainer.run
    state.window = trainer.window.values.tolist()
    random_states = [random_state.capture()]
    if accelerator.num_processes > 1:
        random_states = gather_object(random_states)
    if accelerator.is_main_process:
        doing = trainer.reporter.status.state
        trainer.reporter.update(state="saving")
        trainer.objective.before_saving(trainer.model)
        if trainer.metrics is not None:
            # What was logged up to here must be on disk before the step it will be resumed from.
            trainer.metrics.sync()
        target = run.path / f"checkpoint-{state.step}"
        checkpoint.save(
            target,
            model=trainer.model,
            tokenizer=trainer.tokenizer,
            optimizer=trainer.raw_optimizer,
            state=state,
            random_states=random_states,
            extra={"scaler": accelerator.scaler.state_dict()} if accelerator.scaler is not None else {},
        )
        prune(run, state, trainer.recipe, target)
        trainer.reporter.update(state=doing)
    accelerator.wait_for_everyone()


def prune(run: Run, state: TrainState, recipe: Recipe, newest: Path) -> None:
    """Delete checkpoints beyond the recipe's limit, never the newest nor the best."""
    keep = {newest, run.path / f"checkpoint-{state.best_step}"}
    checkpoint.prune(run.checkpoints(), recipe.training.save_total_limit, keep)


def write_final(run: Run, state: TrainState, recipe: Recipe) -> None:
    """Write `final/`: the best checkpoint's model if the recipe asks for that one, or the last one's."""
    best = state.best_step if recipe.training.load_best_model_at_end else None
    source = run.path / f"checkpoint-{state.step if best is None else best}"
    if not source.is_dir():
        # The best one can be missing when a person deleted it; the newest is what there is.
        source = run.checkpoints()[-1]
    checkpoint.copy_model(source, run.final_path)
    print(f"final/ is the model of step {source.name.rpartition('-')[2]}", flush=True)
