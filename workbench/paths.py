"""Where things are on disk: the user's home, run folders, caches, and the files the package carries."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from workbench.errors import StorageError, storage_error
from workbench.installing import DISTRIBUTION, pip_install

HOME_VARIABLE = "WORKBENCH_HOME"


def home() -> Path:
    """The user's workbench folder: `$WORKBENCH_HOME`, else `~/.workbench`. Not created here."""
    override = os.environ.get(HOME_VARIABLE)
    return Path(override).expanduser().absolute() if override else Path.home() / ".workbench"


def runs_dir() -> Path:
    """The folder that holds one folder a run."""
    return home() / "runs"


def cache_dir(*parts: str) -> Path:
    """A folder for what can be made again (token caches, trained tokenizers, decoded metrics)."""
    return home().joinpath("cache", *parts)


def user_presets_dir() -> Path:
    """The user's own presets; they come before those the package carries."""
    return home() / "presets"


def ensure_dir(path: Path) -> Path:
    """Create `path` and its parents, or raise `StorageError` saying why that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, path) from None
    return path


@cache
def resources(name: str) -> Path:
    """The folder `kernels` or `presets`, from an installed wheel or from the repository."""
    package = Path(__file__).resolve().parent
    for candidate in (package / "_data" / name, package.parent / name):
        if candidate.is_dir():
            return candidate
    raise StorageError(
        f"the installed package lacks its folder “{name}”",
        where=str(package),
        hint=f"install the workbench again: {pip_install('--force-reinstall', DISTRIBUTION)}",
    )
