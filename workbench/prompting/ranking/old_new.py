"""A blind comparison of what a run began with and what it made of it. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.errors import RunError
from workbench.prompting.ranking.create import MAX_TOKENS, TEMPERATURE, Plan, create
from workbench.prompting.ranking.sources import ModelSource
from workbench.store.inspector import Inspector, Progress
from workbench.store.preferences.contents import Prompt
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import Session, list_sessions
from workbench.store.pulled import find_pulled
from workbench.store.runs import Run, find_run

PROMPTS = 50
"""At even odds, 50 decisions tell a model that wins two times in three from a coin (p = 0.02)."""
ANSWERING = ("clm", "sft", "dpo", "ppo", "denoise")
"""Objectives of models that write; what others make has no answers to be ranked."""
COMPARED = "old_against_new"
"""Where the settings of such a session name the run."""
SAMPLING: Mapping[str, Any] = {"temperature": TEMPERATURE, "max_tokens": MAX_TOKENS}


def old_and_new(run: Run) -> tuple[ModelSource, ModelSource]:
    """The model that a run began with, and its result.

    Raises `RunError` where it began with none, has not ended with one yet, or with one that writes nothing.
    """
    if not run.final_path.is_dir():
        raise RunError(
            "the run has no final model yet", where=str(run.path), hint="wait until it is finished"
        )
    recipe = run.recipe()
    if recipe.objective.name not in ANSWERING:
        raise RunError(
            f"what {recipe.objective.name} makes answers nothing that could be ranked",
            where=str(run.recipe_path),
            hint=f"compare runs of {', '.join(ANSWERING)}",
        )
    section = recipe.model
    if section.model_name_or_path is None:
        raise RunError(
            "the run began with no model but with random weights: there is nothing to compare it with",
            where=str(run.recipe_path),
            hint="workbench rank new NAME --prompts FILE --model ONE --model OTHER compares any two",
        )
    options = ("--revision", section.revision) if section.revision else ()
    old = ModelSource("local", _place(section.model_name_or_path), options=options)
    return old, ModelSource("local", str(run.final_path))


def old_against_new(
    database: Database,
    run: Run,
    prompts: Sequence[Prompt] | None = None,
    *,
    count: int = PROMPTS,
    name: str | None = None,
    sampling: Mapping[str, Any] = SAMPLING,
    samples: int = 1,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Session:
    """A session in which the model that a run began with and its result answer the same prompts, side by
    side and blind: up to `count` of those given, or of those that the run held out.

    Called `RUN-old-new` where no `name` is given. Raises `RunError`, and `DataError` where the run holds out
    no prompts; what else `create` does.
    """
    models = old_and_new(run)
    if prompts is None:
        prompts = held_out_prompts(run, count, progress)
    plan = Plan(
        name or free_name(database, run),
        models,
        (dict(sampling),),
        samples,
        f"which answer is better (before and after {run.name}, blind)",
        seed=seed,
        extra={COMPARED: run.name},
    )
    return create(database, plan, prompts[:count])


def comparison_of(database: Database, run: Run) -> Session | None:
    """The newest session that compares a run's present result with its beginning; None where there is none.

    Raises `StorageError`.
    """
    try:
        made = run.final_path.stat().st_mtime
    except OSError:
        return None
    for session in list_sessions(database):
        if session.settings.extra.get(COMPARED) == run.name and session.created >= made:
            return session
    return None


def held_out_prompts(run: Run, count: int = PROMPTS, progress: Progress | None = None) -> list[Prompt]:
    """Prompts that a run never learned from, by the split of its training; a process of its own reads them.

    Raises `DataError` where there are none.
    """
    recipe = run.recipe().model_dump(mode="json")
    with Inspector() as inspector:
        told = inspector.request("held_out", progress=progress, recipe=recipe, count=count)
    return [Prompt(one["prompt"], None, one["tools"] or None) for one in told["prompts"]]


def free_name(database: Database, run: Run) -> str:
    """A name for the session that no other has."""
    stem = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', run.name)[:180]}-old-new"
    taken = {session.name for session in list_sessions(database)}
    names = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


def _place(name: str) -> str:
    """Where the model of a recipe is: a folder, a run's result, a fetched model, or a name on the hub."""
    path = Path(name).expanduser()
    if path.is_dir() and not (path / "status.json").exists():
        return str(path.resolve())
    if (pulled := find_pulled(name)) is not None:
        return str(pulled)
    try:
        return str(find_run(name).final_path)
    except RunError:
        return str(path.resolve()) if path.exists() else name
