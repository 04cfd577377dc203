"""Run folders: creating, finding, listing and deleting them. The layout is one file a line below."""

from __future__ import annotations

import difflib
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import paths
from workbench.errors import RunError, storage_error
from workbench.store.files import replace_file
from workbench.store.status import Status
from workbench.store.worker_folder import WorkerFolder, folders_in

if TYPE_CHECKING:
    from workbench.recipe import Recipe

CHECKPOINT_PATTERN = re.compile(r"checkpoint-(\d+)")


class Run(WorkerFolder):
    """A run folder, addressed; nothing is read before it is asked for."""

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def samples_path(self) -> Path:
        return self.path / "samples.jsonl"

    @property
    def rollouts_path(self) -> Path:
        return self.path / "rollouts.jsonl"

    @property
    def evaluations_path(self) -> Path:
        return self.path / "evaluations.jsonl"

    @property
    def events_path(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def log_path(self) -> Path:
        return self.path / "train.log"

    @property
    def stop_path(self) -> Path:
        """Its presence asks the worker to checkpoint and stop, from whatever host."""
        return self.path / "stop-requested"

    @property
    def final_path(self) -> Path:
        return self.path / "final"

    def recipe(self) -> Recipe:
        """The resolved recipe. Raises `RecipeError` when it was damaged by hand."""
        from workbench.recipe import validate, yaml_file

        return validate(yaml_file.read(self.recipe_path), str(self.recipe_path))

    def checkpoints(self) -> list[Path]:
        """Checkpoint folders by step; names only, they are not checked here."""
        found = [
            (int(match[1]), path)
            for path in self.path.glob("checkpoint-*")
            if (match := CHECKPOINT_PATTERN.fullmatch(path.name)) and path.is_dir()
        ]
        return [path for _, path in sorted(found)]

    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())


def list_runs() -> list[Run]:
    """All runs, newest first."""
    return [Run(path) for path in folders_in(paths.runs_dir())]


def find_run(name: str) -> Run:
    """A run by name, or by the path of its folder."""
    for path in (paths.runs_dir() / name, Path(name).expanduser()):
        if (path / "status.json").exists():
            return Run(path.resolve())
    near = difflib.get_close_matches(name, [run.name for run in list_runs()], n=1)
    raise RunError(
        f"there is no run called “{name}”",
        where=str(paths.runs_dir()),
        hint=f"did you mean {near[0]}?" if near else "workbench runs list shows the runs",
    )


def create_run(recipe: Recipe, stem: str = "run") -> Run:
    """Make the folder of a new run, with its resolved recipe and the state `queued`.

    The name is the recipe's, or `<stem>-<number>` with the next free number.
    """
    from workbench.recipe import dump

    folder = paths.ensure_dir(paths.runs_dir())
    name = recipe.run.name
    path = _new_folder(folder, name) if name else _next_folder(folder, stem)
    recipe.run.name = path.name
    run = Run(path)
    try:
        replace_file(run.recipe_path, dump(recipe).encode(), durable=True)
        Status(
            max_steps=recipe.training.max_steps,
            objective=recipe.objective.name,
            model=recipe.model.model_name_or_path or recipe.model.family,
            num_processes=recipe.launch.world_size,
        ).write(run.status_path)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return run


def _new_folder(folder: Path, name: str) -> Path:
    path = folder / name
    try:
        path.mkdir()
    except FileExistsError:
        raise RunError(
            f"there is a run called “{name}” already",
            where=str(path),
            hint=f"choose another run.name, go on with workbench runs resume {name}, "
            f"or remove it with workbench runs rm {name}",
        ) from None
    except OSError as error:
        raise storage_error(error, path) from None
    return path


def _next_folder(folder: Path, stem: str) -> Path:
    taken = [
        int(path.name[len(stem) + 1 :])
        for path in folder.glob(f"{stem}-*")
        if path.name[len(stem) + 1 :].isdigit()
    ]
    number = max(taken, default=0) + 1
    while True:
        path = folder / f"{stem}-{number}"
        try:
            path.mkdir()
            return path
        except FileExistsError:
            number += 1
        except OSError as error:
            raise storage_error(error, path) from None


def delete_run(run: Run) -> None:
    """Remove a run's folder and all in it. Raises `RunError` while a worker is at it."""
    if run.status().is_active:
        raise RunError(
            f"“{run.name}” is still running",
            where=str(run.path),
            hint=f"workbench runs stop {run.name} first",
        )
    try:
        shutil.rmtree(run.path)
    except OSError as error:
        raise storage_error(error, run.path) from None
