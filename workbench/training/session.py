"""Setting a run up: device, data, model, optimiser, and the place it goes on from."""

from __future__ import annotations

import contextlib
import os
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list
from transformers.utils.logging import disable_progress_bar

from workbench.errors import TrainingError
from workbench.models.context import context_of
from workbench.objectives import OBJECTIVES
from workbench.training import announce, checkpoint, random_state
from workbench.training.agreement import together
from workbench.training.beginning import beginning_of
from workbench.training.evaluate import Evaluator
from workbench.training.loop import Trainer
from workbench.training.making import make
from workbench.training.parallel.build import Split
from workbench.training.parallel.layout import Layout
from workbench.training.parallel.shard import blocks_of
from workbench.training.parallel.sharded_checkpoint import is_sharded
from workbench.training.prepare import prepare_data
from workbench.training.rank_watch import RankWatch
from workbench.training.resume import resume
from workbench.training.samples import SampleWriter
from workbench.training.starting_model import purpose_of, row_length, starting_frame, starting_model
from workbench.training.state import TrainState
from workbench.training.stop import Stopped
from workbench.training.tally import over_processes
from workbench.training.telemetry import flops_per_token, peak_flops
from workbench.training.trackers import check_trackers, start_trackers

if TYPE_CHECKING:
    from pathlib import Path

    from workbench.data import Prepared
    from workbench.data.records import PreparedRecords
    from workbench.objectives import Objective, Rows
    from workbench.recipe import Recipe
    from workbench.store.runs import Run
    from workbench.training.ppo.trainer import PPOTrainer
    from workbench.training.reporter import Reporter
    from workbench.training.stop import StopRequest


def train(run: Run, recipe: Recipe, reporter: Reporter, stop: StopRequest) -> bool:
    """Train `run` from where it stands; True when it reached its last step, False when stopped."""
    check_trackers(list(recipe.run.report_to))
    # The log is read by people; bars drawn with carriage returns are noise there.
    disable_progress_bar()
    set_threads(recipe)
    accelerator = make_accelerator(recipe, run.path / "trackers")
    try:
        trainer: Trainer | PPOTrainer
        if recipe.objective.name == "ppo":
            from workbench.training.ppo import session as ppo_session

            trainer = ppo_session.set_up(run, recipe, reporter, stop, accelerator)
        else:
            trainer = set_up(run, recipe, reporter, stop, accelerator)
        start_trackers(accelerator, recipe)
        finished = False
        try:
            finished = trainer.train()
            if finished:
                trainer.write_final()
        except BaseException:
            trainer.close("failed")
            raise
        trainer.close("ended")
        accelerator.end_training()
        return finished
    finally:
        # Others may be gone when there is an error: to take leave of them would take long.
        if torch.distributed.is_initialized() and sys.exc_info()[0] is None:
            torch.distributed.destroy_process_group()


def set_threads(recipe: Recipe) -> None:
    """As many threads as the recipe says, or this process's share of the cores."""
    launch = recipe.launch
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(launch.num_threads or max(1, cores // launch.num_processes))


def make_accelerator(recipe: Recipe, project_dir: Path | None = None) -> Accelerator:
    """Device and precision of a recipe, and its trackers where they have a folder."""
    device = recipe.launch.device
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device, True):
        raise TrainingError(
            f"launch.device is {device}, but torch sees no such device here",
            hint="workbench doctor shows what this machine has; launch.device=auto takes what there is",
        )
    several, gpus = recipe.launch.num_processes, torch.cuda.device_count()
    if device in ("auto", "cuda") and there["cuda"] and several > gpus:
        raise TrainingError(
            f"launch.num_processes is {several}, but torch sees {gpus} GPU{'s' if gpus > 1 else ''} here",
            hint=f"each process needs one of its own: launch.num_processes={gpus}; or launch.device=cpu",
        )
    waits = InitProcessGroupKwargs(timeout=timedelta(seconds=recipe.launch.ddp_timeout))
    precision = "bf16" if recipe.training.bf16 else "fp16" if recipe.training.fp16 else "no"
    # Left to choose, Accelerate has processes on a machine without GPUs train each for itself.
    alone = recipe.launch.world_size == 1
    accelerator = Accelerator(
        cpu=device == "cpu" or (device == "auto" and not alone and not torch.cuda.is_available()),
        mixed_precision=precision,
        log_with=(list(recipe.run.report_to) or None) if project_dir else None,
        project_dir=None if project_dir is None else str(project_dir),
        kwargs_handlers=[waits] if recipe.launch.world_size > 1 else None,
    )
    if recipe.training.fp16 and accelerator.device.type == "cpu":
        # Accelerate scales no loss there, and says nothing; torch does.
        accelerator.scaler, accelerator.native_amp = torch.amp.GradScaler("cpu"), True
    return accelerator


def set_up(
    run: Run, recipe: Recipe, reporter: Reporter, stop: StopRequest, accelerator: Accelerator
) -> Trainer:
    """Everything of a run, made or resumed, ready for the first step."""
    rank0 = accelerator.is_main_process
    if rank0:
        checkpoint.clean(run.path)
    degrees, patience = recipe.parallel.degrees(accelerator.num_processes), recipe.launch.ddp_timeout
    layout = Layout.make(degrees, accelerator, timedelta(seconds=patience))
    reporter.update(now=True, state="preparing", device=describe_device(accelerator, layout))
    found = newest_checkpoint(run, accelerator)

    context = context_of(recipe.model)
    prepared = prepare_together(recipe, row_length(recipe, context), reporter, stop, accelerator)
    random_state.seed_everything(recipe.training.seed)
    purpose = purpose_of(recipe, prepared.labels)
    in_parts = found is not None and is_sharded(found.path)
    begins_with = None if found is None or in_parts else found.path
    made = make(
        lambda: starting_model(recipe, prepared.tokenizer, purpose, begins_with),
        (lambda: starting_frame(recipe, prepared.tokenizer, purpose)) if in_parts else None,
        recipe,
        layout,
    )
    objective = OBJECTIVES[recipe.objective.name](recipe, prepared.tokenizer)
    length = row_length(recipe, context)
    rows = objective.rows(prepared.train, length, training=True)
    held_out = objective.rows(prepared.eval, length, training=False)
    made.check(objective)
    model: Any = made.model
    about = announce.about(model)
    flops = flops_per_token(model, length)
    # Errors that all processes run into are told by one.
    parts = together(lambda: Split(model, objective, layout, recipe, length), accelerator)
    made.hand_out(parts.stepper)
    state = TrainState(data_key=prepared.key)
    if found is not None:
        state = together(
            lambda: resume(
                found,
                parts.optimizer,
                prepared.key,
                reporter,
                rank=accelerator.process_index,
                seed_offset=layout.seed_offset,
                layout=layout.as_dict(),
                restore=parts.restore_from(found, in_parts=in_parts),
            ),
            accelerator,
        )
    else:
        random_state.seed_everything(recipe.training.seed + layout.seed_offset)
    stepper, prepared_optimizer = parts.ready()
    if found is not None and accelerator.scaler is not None and "scaler" in found.extra:
        accelerator.scaler.load_state_dict(found.extra["scaler"])
    half = recipe.training.bf16 or recipe.training.fp16
    trainer = Trainer(
        run=run,
        recipe=recipe,
        accelerator=accelerator,
        objective=objective,
        model=model,
        about=about,
        layout=layout,
        stepper=stepper,
        ranks=RankWatch(
            run.path, layout, blocks_of(stepper.module), recomputes=recipe.training.gradient_checkpointing
        ),
        tokenizer=prepared.tokenizer,
        raw_optimizer=parts.optimizer,
        optimizer=prepared_optimizer,
        rows=rows,
        evaluator=evaluator_of(recipe, objective, held_out, accelerator, layout.data_size),
        samples=SampleWriter(
            run.samples_path,
            recipe.training.sample_prompts or objective.default_prompts(prepared.eval),
            objective,
            seed=recipe.training.seed,
            enabled=rank0 or not layout.is_plain,
            writes=rank0,
        ),
        state=state,
        reporter=reporter,
        stop=stop,
        flops_per_token=flops,
        peak_flops=peak_flops(accelerator.device, half) * accelerator.num_processes,
    )
    trainer.whole_model = lambda path: starting_model(recipe, prepared.tokenizer, purpose, path)
    _announce(trainer, prepared)
    objective.begin(beginning_of(trainer, held_out, purpose, has_moved=found is not None))
    trainer.begin_again = lambda: objective.begin(beginning_of(trainer, held_out, purpose, has_moved=True))
    reporter.update(progress=None)
    return trainer


def prepare_together(
    recipe: Recipe, length: int, reporter: Reporter, stop: StopRequest, accelerator: Accelerator
) -> Prepared | PreparedRecords:
    """The data of a recipe, on all processes. Raises `Stopped` on all of them where one was asked to stop:
    one that went on alone would wait for the others in the first thing that all do together."""
    prepared = None
    with contextlib.suppress(Stopped):
        prepared = prepare_data(recipe, length, reporter, stop)
    own = torch.tensor([float(prepared is None or bool(stop))])
    stopping = over_processes(own, accelerator, greatest=True).item() > 0
    if stopping or prepared is None:
        raise Stopped
    return prepared


def newest_checkpoint(run: Run, accelerator: Accelerator) -> checkpoint.Checkpoint | None:
    """What the main process goes on from, on all of them: other machines may see the folder as it was. Raises
    `CheckpointError`."""
    if not accelerator.is_main_process:
        name = broadcast_object_list([None])[0]
        return checkpoint.read(run.path / name) if name else None
    found = checkpoint.newest(run.checkpoints(), warn)
    broadcast_object_list([found.path.name if found else None])
    return found


def warn(text: str) -> None:
    """A line in the log that a person should not miss."""
    print(f"warning: {text}", file=sys.stderr)


def describe_device(accelerator: Accelerator, layout: Layout | None = None) -> str:
    """The device as a person would name it, and how a model is split over several."""
    how = "" if layout is None or layout.is_plain else f", {layout.degrees}"
    return f"{_devices(accelerator)}{how}"


def _devices(accelerator: Accelerator) -> str:
    device = accelerator.device
    if device.type == "cuda":
        return f"{accelerator.num_processes} × {torch.cuda.get_device_name(device)}"
    threads = torch.get_num_threads()
    each = f"{threads} thread{'s' if threads > 1 else ''}"
    return (
        f"{device.type}, {accelerator.num_processes} × {each}"
        if accelerator.num_processes > 1
        else f"{device.type}, {each}"
    )


def evaluator_of(
    recipe: Recipe, objective: Objective, rows: Rows, accelerator: Accelerator, data_size: int = 1
) -> Evaluator | None:
    """What evaluates on held-out rows; None where there are none."""
    if rows.rows_per_epoch(0) == 0:
        return None
    section = recipe.training
    return Evaluator(
        rows=rows,
        objective=objective,
        accelerator=accelerator,
        batch_size=section.per_device_eval_batch_size or section.per_device_train_batch_size,
        max_batches=section.max_eval_batches,
        data_size=data_size,
    )


def _announce(trainer: Trainer, prepared: Prepared | PreparedRecords) -> None:
    if not trainer.accelerator.is_main_process:
        return
    print(
        "\n".join(
            announce.lines(trainer, prepared.report, describe_device(trainer.accelerator, trainer.layout))
        ),
        flush=True,
    )
    trainer.reporter.update(now=True, num_parameters=trainer.about.parameters, max_steps=trainer.max_steps)
