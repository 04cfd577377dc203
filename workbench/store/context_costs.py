"""What models took by the length of a text, as files: `context-cost.json` in a run's folder, or under
`context-cost/` in the workbench's home for a model that is of no run. The newest measurement stays.

A file holds what `workbench context cost` measured: `model`, `runner`, `kv_dtype`, `device`, `dtype`,
`threads`, `trained_length`, `created`, and lists of points by `length`: `costs` of the model as it is, `full`
of the same weights with full attention (or null), `training` of a forward and backward pass (or null).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from pathlib import Path
from typing import Any

from workbench import paths
from workbench.store.files import replace_file

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


def save(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Write a measurement, with when it was made; what is written. Raises `StorageError`."""
    whole = {**content, "created": time.time()}
    paths.ensure_dir(path.parent)
    replace_file(path, json.dumps(whole, indent=1).encode())
    return whole
