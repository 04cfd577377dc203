"""What the folders of runs and cleanings have in common: a recipe, and the status of the worker at it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workbench.errors import storage_error
from workbench.store.status import LOST, Status

STATUS, RECIPE = "status.json", "recipe.yaml"


@dataclass(frozen=True)
class WorkerFolder:
    """A folder, addressed; nothing is read before it is asked for."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def recipe_path(self) -> Path:
        return self.path / RECIPE

    @property
    def status_path(self) -> Path:
        return self.path / STATUS

    @property
    def lock_path(self) -> Path:
        return self.path / "worker.lock"

    def status(self) -> Status:
        """The status as it stands. A worker says its last word before it ends: one that is found gone
        may have spoken since the file was read, so the file is read once more."""
        status = Status.read(self.status_path)
        return Status.read(self.status_path) if status.seen_state() == LOST else status


def folders_in(folder: Path) -> list[Path]:
    """The folders in `folder` that have a status, the newest first. Raises `StorageError`."""
    try:
        found = [path for path in folder.iterdir() if (path / STATUS).exists()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(error, folder) from None
    return sorted(found, key=_made, reverse=True)


def _made(path: Path) -> tuple[float, str]:
    # The recipe is written once, when the folder is made.
    try:
        return ((path / RECIPE).stat().st_mtime, path.name)
    except OSError:
        return (0.0, path.name)
