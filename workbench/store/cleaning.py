"""Cleanings on disk, one folder each: what is cleaned and how, how far it is, what came of it.

cleanings/<name>/
  recipe.yaml   status.json   clean.log   plan.json
  steps/<number>-<step>/<shard>.json       counts: in, kept, changed, dropped, reasons
  steps/<number>-<step>/<shard>.parquet    each dropped and changed record, with its reason, before and after
  progress/<task>.json                     counts of tasks at work
  report.json                              mixture, diversity, bias
  result/                                  data/*.parquet or *.jsonl, README.md
"""

from __future__ import annotations

import difflib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import paths
from workbench.errors import RunError, storage_error
from workbench.store.files import replace_file
from workbench.store.status import Status
from workbench.store.worker_folder import WorkerFolder, folders_in

if TYPE_CHECKING:
    from workbench.recipe.cleaning import CleaningRecipe


class Cleaning(WorkerFolder):
    """The folder of a cleaning, addressed; nothing is read before it is asked for."""

    @property
    def log_path(self) -> Path:
        return self.path / "clean.log"

    @property
    def steps_path(self) -> Path:
        return self.path / "steps"

    @property
    def progress_path(self) -> Path:
        return self.path / "progress"

    @property
    def report_path(self) -> Path:
        return self.path / "report.json"

    def recipe(self) -> CleaningRecipe:
        """The resolved recipe. Raises `RecipeError` when it was damaged by hand."""
        from workbench.recipe import yaml_file
        from workbench.recipe.cleaning import validate_cleaning

        return validate_cleaning(yaml_file.read(self.recipe_path), str(self.recipe_path))

    def result_path(self) -> Path:
        """Where the result goes, or is."""
        folder = self.recipe().output.folder
        return Path(folder).expanduser() if folder else self.path / "result"

    def card_path(self) -> Path:
        """The data card."""
        return self.result_path() / "README.md"

    def report(self) -> dict[str, Any]:
        """What is told of the corpus; empty before the end."""
        try:
            value = json.loads(self.report_path.read_bytes())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}


def cleanings_dir() -> Path:
    """The folder that holds one folder a cleaning."""
    return paths.home() / "cleanings"


def list_cleanings() -> list[Cleaning]:
    """All cleanings, the newest first. Raises `StorageError`."""
    return [Cleaning(path) for path in folders_in(cleanings_dir())]


def find_cleaning(name: str) -> Cleaning:
    """A cleaning by name, or by the path of its folder. Raises `RunError`."""
    for path in (cleanings_dir() / name, Path(name).expanduser()):
        if (path / "status.json").exists() and _is_cleaning(path):
            return Cleaning(path.resolve())
    near = difflib.get_close_matches(name, [cleaning.name for cleaning in list_cleanings()], n=1)
    raise RunError(
        f"there is no cleaning called “{name}”",
        where=str(cleanings_dir()),
        hint=f"did you mean {near[0]}?" if near else "workbench data clean --list shows them",
    )


def _is_cleaning(path: Path) -> bool:
    """A run has a status too, and must not be taken for one: what is found may be removed."""
    if path.resolve().parent == cleanings_dir().resolve():
        return True
    return Status.read(path / "status.json").objective == "cleaning"


def open_cleaning(recipe: CleaningRecipe, stem: str) -> tuple[Cleaning, bool]:
    """The folder for a recipe, and whether it was there: the same recipe goes on where it was.

    With a name, that folder; without one, that of an unfinished cleaning by the same recipe, else
    `<stem>-<number>`. Raises `RunError` where another recipe has the name.
    """
    recipe = recipe.model_copy(deep=True)
    _make_absolute(recipe)
    folder = paths.ensure_dir(cleanings_dir())
    if recipe.run.name is None:
        for cleaning in list_cleanings():
            if cleaning.status().state != "finished" and _is_same(cleaning, recipe):
                _run_on(cleaning, recipe)
                return cleaning, True
        recipe.run.name = _free_name(folder, stem)
    cleaning = Cleaning(folder / recipe.run.name)
    if cleaning.status_path.exists():
        if _is_same(cleaning, recipe):
            _run_on(cleaning, recipe)
            return cleaning, True
        raise RunError(
            f"there is a cleaning called “{recipe.run.name}” by another recipe",
            where=str(cleaning.path),
            hint=f"choose another run.name, or remove it: workbench data clean --rm {recipe.run.name}",
        )
    _create(cleaning, recipe)
    return cleaning, False


def _create(cleaning: Cleaning, recipe: CleaningRecipe) -> None:
    from workbench.recipe.load import dump

    paths.ensure_dir(cleaning.path)
    replace_file(cleaning.recipe_path, dump(recipe).encode(), durable=True)
    Status(objective="cleaning").write(cleaning.status_path)


def _is_same(cleaning: Cleaning, recipe: CleaningRecipe) -> bool:
    """Whether a recipe gives what is in a folder; on what it runs does not matter, but for the size of
    shards."""
    from workbench.errors import RecipeError

    try:
        there = cleaning.recipe()
    except RecipeError:
        return False
    return _essence(there) == _essence(recipe)


def _run_on(cleaning: Cleaning, recipe: CleaningRecipe) -> None:
    """Let a cleaning that is not at work go on as is asked for now: with fewer workers, or on a cluster.

    The size of shards stays, and the memory: it says into how many tasks a stage that was begun is cut.
    """
    from workbench.recipe.load import dump

    if cleaning.status().is_active or cleaning.status().state == "finished":
        return
    there = cleaning.recipe()
    asked = recipe.executor.model_copy(update={"memory_megabytes": there.executor.memory_megabytes})
    if asked != there.executor:
        there.executor = asked
        replace_file(cleaning.recipe_path, dump(there).encode(), durable=True)


def _essence(recipe: CleaningRecipe) -> dict[str, Any]:
    mapping = recipe.model_dump(mode="json")
    mapping["run"].pop("name")
    mapping["executor"] = {"shard_megabytes": recipe.executor.shard_megabytes}
    return mapping


def _make_absolute(recipe: CleaningRecipe) -> None:
    """Paths of this folder as paths of anywhere: the worker may be started again from another."""
    for source in [*recipe.data.sources, *recipe.decontamination.eval_sources]:
        path = Path(source.path).expanduser()
        if path.exists() or (any(mark in source.path for mark in "*?[") and path.parts[0] != "/"):
            source.path = str(path.absolute())
    if recipe.output.folder:
        recipe.output.folder = str(Path(recipe.output.folder).expanduser().absolute())
    if recipe.toxicity.classifier:
        recipe.toxicity.classifier = str(Path(recipe.toxicity.classifier).expanduser().absolute())
    if recipe.pii.name_model:
        recipe.pii.name_model = str(Path(recipe.pii.name_model).expanduser().absolute())
    recipe.toxicity.lists = [str(Path(name).expanduser().absolute()) for name in recipe.toxicity.lists]


def _free_name(folder: Path, stem: str) -> str:
    numbers = [
        int(path.name[len(stem) + 1 :])
        for path in folder.glob(f"{stem}-*")
        if path.name[len(stem) + 1 :].isdigit()
    ]
    return f"{stem}-{max(numbers, default=0) + 1}"


def delete_cleaning(cleaning: Cleaning) -> None:
    """Remove a cleaning's folder and all in it; a result elsewhere stays. Raises `RunError` while it runs."""
    if cleaning.status().is_active:
        raise RunError(
            f"“{cleaning.name}” is still running",
            where=str(cleaning.path),
            hint=f"workbench data clean --stop {cleaning.name} first",
        )
    try:
        shutil.rmtree(cleaning.path)
    except OSError as error:
        raise storage_error(error, cleaning.path) from None
