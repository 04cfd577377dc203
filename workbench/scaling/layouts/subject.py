"""What a layout is planned for, from what a user names: a published model, a preset, a recipe, a run, a
folder with a config.json."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import RecipeError, UsageError
from workbench.models.estimate.fused import fused_on_cpu
from workbench.models.estimate.load import load_of
from workbench.recipe import Recipe, list_presets, load
from workbench.scaling.layouts.cluster import Cluster
from workbench.scaling.layouts.model import Model, model_of
from workbench.scaling.layouts.plan import Setting, precision_of
from workbench.scaling.layouts.published import published_models
from workbench.scaling.layouts.stack import STACKS, WORKBENCH, Stack

BATCH_TOKENS = 4_194_304
"""Tokens of a step where nothing says how many: of the size that models of some billion weights are trained
with (Touvron et al. 2023)."""


@dataclass(frozen=True)
class Subject:
    """A model to plan for; `recipe` is what a layout can be written into, None for a published model."""

    model: Model
    recipe: Recipe | None = None


def subject_of(name: str, overrides: Sequence[str] = ()) -> Subject:
    """Find a model by name. Raises `WorkbenchError` saying what there is."""
    known = published_models()
    if name in known:
        if overrides:
            raise UsageError(
                f"{name} is a published model of fixed sizes",
                where=overrides[0],
                hint="leave the override out",
            )
        return Subject(known[name])
    recipe = _recipe(name, overrides)
    return Subject(model_of(recipe, name), recipe)


def _recipe(name: str, overrides: Sequence[str]) -> Recipe:
    folder = Path(name).expanduser()
    run = _run(name) if not folder.suffix and not folder.is_dir() else None
    if run is not None:
        return load(str(run), overrides)
    if folder.is_dir():
        return load("nano", [f"model.model_name_or_path={folder}", "data.max_length=null", *overrides])
    try:
        return load(name, overrides)
    except RecipeError as error:
        if "no preset called" not in error.message:
            raise
        names = [
            *published_models(),
            *(preset.name for kind in ("runs", "models") for preset in list_presets(kind)),
        ]
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        raise RecipeError(
            f"there is no preset, recipe, run or published model called “{name}”",
            hint=f"did you mean {near[0]}?" if near else "workbench plan --list shows the published models",
        ) from None


def _run(name: str) -> Path | None:
    """The recipe of a run of that name, where no preset has it."""
    from workbench import paths

    path = paths.runs_dir() / name / "recipe.yaml"
    return path if path.is_file() else None


def setting_of(
    subject: Subject,
    on: Cluster,
    *,
    length: int | None = None,
    global_batch: int | None = None,
    stack: str = WORKBENCH.name,
    half: bool | None = None,
) -> Setting:
    """Everything that layouts are compared under. Raises `UsageError` for what cannot be.

    Rows are as long as the recipe's, a step has as many as the recipe gives each process, but no more than
    some million tokens where nobody says; precision is the recipe's on a CPU, half on GPUs.
    """
    model, recipe = subject.model, subject.recipe
    rows_each = 8
    tokens_each = min(model.longest, 8192)
    if recipe is not None and model.shape is not None:
        loaded = load_of(recipe, model.shape)
        tokens_each = loaded.length if recipe.data.max_length else min(model.longest, 8192)
        rows_each = recipe.training.per_device_train_batch_size * recipe.training.gradient_accumulation_steps
    length = length or tokens_each
    if global_batch is None:
        most = max(on.gpus, BATCH_TOKENS // length)
        global_batch = max(1, min(rows_each * on.gpus, most // on.gpus * on.gpus or most))
    is_cpu = on.device.is_cpu
    if half is None:
        training = recipe.training if recipe else None
        half = (training.bf16 or training.fp16) if is_cpu and training else not is_cpu
    fused = fused_on_cpu(recipe, model.shape) if is_cpu and recipe and model.shape else None
    precision = precision_of(
        half, fused_layers=bool(fused and fused.layers), fused_head=bool(fused and fused.head)
    )
    return Setting(model, on, length, global_batch, _stack(stack), precision)


def _stack(name: str) -> Stack:
    try:
        return STACKS[name]
    except KeyError:
        raise UsageError(
            f"no way to train is called “{name}”", where="--stack", hint=f"one of: {', '.join(STACKS)}"
        ) from None
