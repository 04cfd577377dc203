"""A run in a few values: for `--json`, for the table of runs and for comparing."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from workbench.store.runs import Run
from workbench.store.status import Status


def as_dict(run: Run, status: Status | None = None) -> dict[str, Any]:
    """The status as it is seen, with the run's name and folders. Times are seconds since the epoch."""
    status = status or run.status()
    value = asdict(status)
    value["state"] = status.seen_state()
    finished = run.final_path.is_dir()
    return {
        "name": run.name,
        "path": str(run.path),
        "final": str(run.final_path) if finished else None,
        **value,
        "elapsed_seconds": elapsed(status),
    }


def elapsed(status: Status) -> float | None:
    """Seconds a run has worked, or None before it started."""
    if status.started is None:
        return None
    still = status.is_active
    return max(0.0, (time.time() if still else status.ended or status.updated) - status.started)
