"""Evaluations on long text, as files beside the model: `context/<number>.json` in a run's folder, or under
`context/` in the workbench's home for a model that is of no run.

A file holds `model`, `run`, `created`, `context`, `trained` (the length that it learnt from), `data`,
`lengths`, `windows`, `documents`, `passkeys` (how they were made) and `variants`. Each variant has `method`,
`title`, `factor` and

- `positions`: for places `start` to `end` of windows of the longest length the mean `nll` in nats, its
interval `low` to `high` (95 %, over documents; null for a single one) and the number of `tokens`;
- `difference`: by how many nats a token of the longest windows is worse than with the first variant, with its
  interval, which is narrower than those above: both read the same documents;
- `lengths`: the same over the first `length` tokens, and over their last quarter (`tail`);
- `sliding`: the same tokens predicted from windows of each `length`, where that was asked for;
- `passkeys`: cells of `length` and `depth`: `exact` of `trials`, its interval, `token_accuracy`, `logprob`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import paths
from workbench.errors import RunError, StorageError, UsageError, storage_error
from workbench.store.files import replace_file
from workbench.store.runs import Run, list_runs

FOLDER = "context"
NAME = re.compile(r"([1-9][0-9]*)\.json")
PARTS = ("model", "lengths", "variants", "created")


@dataclass(frozen=True)
class Result:
    """One evaluation: its file, its number among those of the same model, what is in it."""

    path: Path
    number: int
    content: dict[str, Any]

    @property
    def name(self) -> str:
        """As it is called on the command line: `nano-1`, `nano-1:2`."""
        return f"{self.of}:{self.number}"

    @property
    def of(self) -> str:
        """The run or the model."""
        return str(self.content.get("run") or Path(str(self.content["model"])).name or self.content["model"])

    @property
    def variants(self) -> list[dict[str, Any]]:
        """What was measured of each method."""
        found: list[dict[str, Any]] = self.content["variants"]
        return found


def folder_of(model: str, run: Path | None) -> Path:
    """Where evaluations of a model are kept: in its run's folder, or in one named after it."""
    if run is not None:
        return run / FOLDER
    place = Path(model).expanduser()
    whole = str(place.resolve()) if place.exists() else model
    word = re.sub(r"[^A-Za-z0-9._-]+", "-", place.name).strip("-.") or "model"
    return paths.home() / FOLDER / f"{word[:60]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def save(content: Mapping[str, Any], model: str, run: Path | None) -> Result:
    """Write a result under the next number. Raises `StorageError`."""
    folder = paths.ensure_dir(folder_of(model, run))
    whole = {**content, "run": None if run is None else run.name, "created": time.time()}
    number, path = _next_number(folder)
    try:
        replace_file(path, json.dumps(whole, ensure_ascii=False).encode())
    except StorageError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return Result(path, number, whole)


def _next_number(folder: Path) -> tuple[int, Path]:
    """A number that nobody else gets: its file is made empty at once."""
    number = max((found for found, _ in _numbered(folder)), default=0) + 1
    while True:
        path = folder / f"{number}.json"
        try:
            path.open("xb").close()
        except FileExistsError:
            number += 1
        except OSError as error:
            raise storage_error(error, path) from None
        else:
            return number, path


def results_in(folder: Path) -> list[Result]:
    """The results of one model, in the order they were made; damaged files are left out."""
    found = [read(path, number) for number, path in sorted(_numbered(folder))]
    return [result for result in found if result is not None]


def read(path: Path, number: int) -> Result | None:
    """The result in a file; None where it cannot be read or is of another kind."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return Result(path, number, content) if _fits(content) else None


def _fits(content: object) -> bool:
    """Whether what a list of results and a search need of one is there."""
    if not isinstance(content, dict) or not all(part in content for part in PARTS):
        return False
    lengths, variants = content["lengths"], content["variants"]
    return (
        isinstance(content["created"], int | float)
        and isinstance(lengths, list)
        and bool(lengths)
        and all(isinstance(length, int) for length in lengths)
        and isinstance(variants, list)
        and all(isinstance(variant, dict) for variant in variants)
    )


def every() -> list[Result]:
    """All results: those of runs, newest run first, then those of other models."""
    folders = [run.path / FOLDER for run in list_runs()]
    others = paths.home() / FOLDER
    if others.is_dir():
        folders += sorted(others.iterdir())
    return [result for folder in folders for result in results_in(folder)]


def find(word: str) -> Result:
    """The result that `NAME`, `NAME:NUMBER` or a file means; of a name alone, the newest.

    Raises `RunError` where there is none, `UsageError` for a number that there is not.
    """
    path = Path(word).expanduser()
    if path.suffix == ".json" and path.is_file():
        result = read(path, 0)
        if result is None:
            raise RunError("this file holds no evaluation on long text", where=str(path))
        return result
    name, colon, number = word.rpartition(":")
    name = name if colon and number.isdecimal() else word
    found = [result for result in every() if result.of == name or str(result.path.parent.parent) == name]
    if not found:
        raise RunError(f"“{name}” was not evaluated on long text yet", hint=f"workbench context eval {name}")
    if name == word:
        return found[-1]
    for result in found:
        if result.number == int(number):
            return result
    known = ", ".join(str(result.number) for result in found)
    raise UsageError(f"there is no evaluation {number} of {name}", hint=f"there are: {known}")


def signature(folder: Path) -> tuple[tuple[int, int], ...]:
    """Changes when results are written or go."""
    try:
        return tuple((number, path.stat().st_mtime_ns) for number, path in sorted(_numbered(folder)))
    except OSError:
        return ()


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    return [(int(match[1]), path) for path in folder.iterdir() if (match := NAME.fullmatch(path.name))]


def run_folder(run: Run) -> Path:
    """Where a run's results are."""
    return run.path / FOLDER
