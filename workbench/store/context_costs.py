"""What models took by the length of a text, as files: `context-cost.json` in a run's folder, or under
`context-cost/` in the workbench's home for a model that is of no run. The newest measurement stays.

A file holds what `workbench context cost` measured: `model`, `runner`, `kv_dtype`, `device`, `dtype`,
`threads`, `trained_length`, `created`, and lists of points by `length`: `costs` of the model as it is, `full`
of the same weights with full attention (or null), `training` of a forward and backward pass (or null).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shlex
import time
from pathlib import Path
from typing import Any

from workbench import paths
from workbench.errors import RunError
from workbench.store.files import replace_file
from workbench.store.runs import find_run

NAME = "context-cost.json"


def path_of(model: str, run_folder: Path | None) -> Path:
    """Where the measurement of a model is kept."""
    if run_folder is not None:
        return run_folder / NAME
    place = Path(model).expanduser()
    whole = str(place.resolve()) if place.exists() else model
    word = re.sub(r"[^A-Za-z0-9._-]+", "-", place.name).strip("-.") or "model"
    return (
        paths.home() / "context-cost" / f"{word[:60]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}.json"
    )


def read(path: Path) -> dict[str, Any] | None:
    """The measurement in a file; None where there is none or it is of another kind."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or not isinstance(content.get("created"), int | float):
        return None
    costs = content.get("costs")
    is_list = isinstance(costs, list) and bool(costs) and all(isinstance(point, dict) for point in costs)
    return content if is_list and {"model", "runner", "full", "training"} <= set(content) else None


def find(word: str) -> dict[str, Any]:
    """The measurement of a run, of a model, or in a file. Raises `RunError` where there is none."""
    given = Path(word).expanduser()
    if given.suffix == ".json" and given.is_file():
        found = read(given)
        if found is None:
            raise RunError("this file holds no measurement of cost", where=str(given))
        return found
    run: Path | None = None
    if not (given / "config.json").exists():
        with contextlib.suppress(RunError):
            run = find_run(word).path
    found = read(path_of(word, run))
    if found is None:
        raise RunError(
            f"what “{word}” takes was not measured yet", hint=f"workbench context cost {shlex.quote(word)}"
        )
    return found


def signature(path: Path) -> int:
    """Changes when a measurement is written or goes."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def save(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Write a measurement, with when it was made; what is written. Raises `StorageError`."""
    whole = {**content, "created": time.time()}
    paths.ensure_dir(path.parent)
    replace_file(path, json.dumps(whole, indent=1).encode())
    return whole
