"""Starting, watching and stopping the generator of a session, from any process. No torch."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

from workbench import paths
from workbench.errors import storage_error
from workbench.prompting.ranking import status as files
from workbench.prompting.ranking.status import GenerationStatus, identity_of, read_status, write_status
from workbench.store.preferences.sessions import Session
from workbench.store.spawning import spawn

POLL_SECONDS = 0.05


def ensure_generating(session: Session, *, again: bool = False) -> GenerationStatus:
    """Start the generator of a session where it has answers to make and none is at work; how it stands then.

    One that finished, failed or was stopped is left as it is, unless asked for `again`: then what failed for
    single prompts is tried once more, too. Two that start one at the same moment get one. Raises
    `StorageError` where nothing can be written.
    """
    status = read_status(session)
    if not session.settings.models or status.is_active:
        return status
    if status.state in ("finished", "failed", "stopped") and not again:
        return status
    name = session.name
    paths.ensure_dir(files.folder_of(name))
    try:
        files.stop_path(name).unlink(missing_ok=True)
        if again:
            files.failures_path(name).unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, files.folder_of(name)) from None
    started = GenerationStatus(
        "starting", "starting", status.done, status.total, session=identity_of(session)
    )
    write_status(name, started)
    command = [sys.executable, "-m", "workbench.prompting.ranking", name]
    spawn(command, files.log_path(name), waits_for=f"answers of {name}", mode=0o600)
    return started


def generation_status(session: Session) -> GenerationStatus:
    """How far the answers of a session are, from the file that its generator keeps; raises nothing."""
    return read_status(session)


def stop_generating(session: Session) -> GenerationStatus:
    """Ask the generator to end, and say how it stands; it does so in a second or two, and answers under way
    are dropped. Nothing where none is at work. Raises `StorageError`."""
    status = read_status(session)
    if not status.is_active:
        return status
    try:
        files.stop_path(session.name).touch()
    except OSError as error:
        raise storage_error(error, files.stop_path(session.name)) from None
    if status.process is not None and status.process.liveness() == "alive":
        with contextlib.suppress(ProcessLookupError):
            os.kill(status.process.pid, signal.SIGTERM)
    return read_status(session)


def wait_until_over(session: Session, seconds: float) -> GenerationStatus:
    """Wait until no generator is at work, at most so many seconds; how it stands then."""
    deadline = time.monotonic() + seconds
    while (status := read_status(session)).is_active and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return status
