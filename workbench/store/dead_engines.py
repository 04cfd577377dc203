"""Holding the records of all engines, and removing what dead engines left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from workbench import paths
from workbench.errors import StorageError, storage_error
from workbench.store import engines
from workbench.store.engines import EngineState

KEPT_SECONDS = 86_400.0
"""How long what a dead engine said stays, for whoever wants to know why."""


@contextmanager
def locked(*, wait: bool) -> Iterator[bool]:
    """Hold all engines' records for changes; whether they are held, which without `wait` need not be.

    The lock ends with the process, however it ends. Raises `StorageError`.
    """
    try:
        file = (paths.ensure_dir(engines.engines_dir()) / ".lock").open("ab")
    except OSError as error:
        raise storage_error(error, engines.engines_dir()) from None
    with file:
        yield _lock(file.fileno(), wait)


def _lock(descriptor: int, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        # Some network file systems know no locks: who must have the records goes on without.
        return wait
    return True


def clean(found: Sequence[EngineState]) -> None:
    """Remove what dead engines of this user and this host left: sockets at once, records after a day.

    The records must be held, see `locked`. Whether a process of another host lives cannot be told from
    here: what it left stays.
    """
    for state in found:
        if state.seen_state() in (*engines.ACTIVE, engines.STOPPING) or not _is_ours(state):
            continue
        if state.process is not None:
            _put_down(state)
            _remove_socket(state)
        if time.time() - _last_written(state) > KEPT_SECONDS:
            _remove_socket(state)
            shutil.rmtree(state.folder, ignore_errors=True)


def _is_ours(state: EngineState) -> bool:
    """Whether it belongs to this user, and its process, where it told of one, is gone from this host."""
    try:
        owner = state.folder.lstat().st_uid
    except OSError:
        return False
    return owner == os.getuid() and (state.process is None or state.process.liveness() == "gone")


def _put_down(state: EngineState) -> None:
    """Say of a process that is gone that it is, so that the record stays for a day from now on."""
    latest = engines.read(state.name)
    # Its last words may have come after the record was read; now that it is gone, no more will.
    if latest is not None and latest.state != latest.seen_state():
        latest.state = latest.seen_state()
        with contextlib.suppress(StorageError):
            latest.write()


def _last_written(state: EngineState) -> float:
    try:
        return (state.folder / "state.json").stat().st_mtime
    except OSError:
        return time.time()


def _remove_socket(state: EngineState) -> None:
    """Remove the socket that bears an engine's name, which no other engine ever has."""
    path = Path(state.socket)
    with contextlib.suppress(OSError):
        found = path.lstat()
        if path.stem == state.name and stat.S_ISSOCK(found.st_mode) and found.st_uid == os.getuid():
            path.unlink()
