"""A model on held-out data, by the very code that evaluates in training, on all rows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import DataError
from workbench.models.context import context_of
from workbench.objectives import OBJECTIVES
from workbench.prediction.report import details
from workbench.recipe import validate
from workbench.store.runs import Run
from workbench.training import checkpoint
from workbench.training.beginning import evaluation_of
from workbench.training.parallel.layout import Layout
from workbench.training.parallel.stepper import PlainStepper
from workbench.training.prepare import prepare_recipe
from workbench.training.session import describe_device, evaluator_of, make_accelerator, set_threads
from workbench.training.starting_model import purpose_of, row_length, starting_model

if TYPE_CHECKING:
    from workbench.prediction.events import Events
    from workbench.recipe import Recipe


def evaluate_recipe(request: dict[str, Any], events: Events) -> None:
    """Evaluate the model of a run, or of a folder, on the held-out data of `recipe`.

    `model` is the folder of the weights; `run` the run's folder, where it is a run's. Sends `result`:
    `objective`, `device`, `rows`, `seconds`, `metrics`, and what a task's report shows beside them.
    """
    recipe = validate(request["recipe"], request["where"])
    set_threads(recipe)
    accelerator = make_accelerator(recipe)
    context = context_of(recipe.model)
    length = row_length(recipe, context)
    prepared = prepare_recipe(recipe, length, events.progress)
    folder = weights_of(recipe, Path(request["model"]), request["run"], events)
    purpose = purpose_of(recipe, prepared.labels)
    model: Any = starting_model(recipe, prepared.tokenizer, purpose, folder)
    objective = OBJECTIVES[recipe.objective.name](recipe, prepared.tokenizer)
    # Training rows are asked for too, as in training: an objective may learn from them what is common.
    training = objective.rows(prepared.train, length, training=True)
    rows = objective.rows(prepared.eval, length, training=False)
    evaluator = evaluator_of(recipe, objective, rows, accelerator)
    if evaluator is None:
        raise DataError(
            "there is no held-out data",
            where=request["where"],
            hint="set data.eval_fraction above 0, or name data.eval_sources=[FILE]",
        )
    objective.check(model)
    model.to(accelerator.device)
    evaluator.max_batches = None
    evaluator.on_batch = events.progress
    own = None if request["run"] is None else Path(request["run"])
    objective.begin(
        evaluation_of(
            recipe,
            model,
            prepared.tokenizer,
            purpose,
            training,
            evaluator,
            prepared.key,
            own,
            events.progress,
        )
    )
    began = time.monotonic()
    metrics = evaluator.evaluate(PlainStepper(model, model, objective, Layout.plain(accelerator)))
    labels = tuple(prepared.labels)
    events.send(
        "result",
        objective=objective.name,
        model=request["model"] if folder is None else str(folder),
        device=describe_device(accelerator),
        rows=evaluator.num_rows,
        seconds=time.monotonic() - began,
        metrics=metrics,
        **details(objective.name, evaluator.predictions, labels),
    )


def weights_of(recipe: Recipe, model: Path, run_folder: str | None, events: Events) -> Path:
    """Where the weights are: the folder named, but for replaced token detection the checkpoint behind a
    final model, for that has lost the generator that makes its task."""
    if recipe.objective.name != "rtd" or run_folder is None or (model / "generator").is_dir():
        return model
    run = Run(Path(run_folder))
    newest = checkpoint.newest(run.checkpoints(), warn=lambda text: events.send("note", text=text))
    if newest is None:
        return model
    state, step = newest.state, newest.state.step
    if recipe.training.load_best_model_at_end and state.best_step is not None:
        step = state.best_step
    best = run.path / f"checkpoint-{step}"
    return best if best.is_dir() else newest.path
