"""What the task at work in this process tells of itself, a few times a second."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from workbench.store.cleaning import Cleaning

SECONDS = 0.5
DRIVER = "WORKBENCH_CLEANING_DRIVER"
"""The id of the process that drives the tasks on this machine; without it they stop."""

_file: Path | None = None
_counts: dict[str, dict[str, Any]] = {}
_last = 0.0


class Orphaned(Exception):
    """Whoever drives this task is gone, and may have been started again: two must not be at one shard."""


@contextmanager
def task(folder: Path, stage: str, rank: int) -> Iterator[None]:
    """Say what is going on in a file of this task, until it is done."""
    global _file, _last
    _file, _last = Cleaning(folder).progress_path / f"{stage}-{rank:05d}.json", time.monotonic()
    _counts.clear()
    try:
        yield
    finally:
        _file.unlink(missing_ok=True)
        _file = None


def tell(step: str, counts: dict[str, Any]) -> None:
    """The counts of a step of this task so far."""
    global _last
    _counts[step] = counts
    now = time.monotonic()
    if _file is None or now - _last < SECONDS:
        return
    _last = now
    _check_driver()
    try:
        _file.parent.mkdir(parents=True, exist_ok=True)
        temporary = _file.with_name(f".{_file.name}.{os.getpid()}")
        temporary.write_bytes(orjson.dumps(_counts))
        temporary.replace(_file)
    except OSError:
        # What cannot be told is not worth ending the task for; what must be written says so itself.
        return


def _check_driver() -> None:
    driver = os.environ.get(DRIVER)
    if driver is None:
        return
    try:
        os.kill(int(driver), 0)
    except ProcessLookupError:
        raise Orphaned from None
    except OSError:
        return
