"""Seeing at once that the worker we started has ended, also when it never wrote a status.

A worker that dies before it says who it is (no memory, a broken installation) looks from the run folder
like one that is slow to start, for a minute and a half. Its parent can tell the difference.
"""

from __future__ import annotations

from collections.abc import Callable

import psutil


def start_watched(start: Callable[[], None]) -> Callable[[], bool]:
    """Call `start`; what is returned says whether all processes that it started have ended."""
    before = _children()
    start()
    started = _children() - before
    return lambda: bool(started) and all(map(_has_ended, started))


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children())


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
