"""What is being measured of a run's long context: `context/job.json` while a command is at it.

`workbench context eval` and `context cost` write it, whoever started them, and take it away when they are
done; where the process is gone and the file is there, it failed. The interface starts the same commands.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from workbench import paths
from workbench.errors import RunError, WorkbenchError
from workbench.store.files import replace_file
from workbench.store.long_context import FOLDER
from workbench.store.process import ProcessIdentity
from workbench.store.spawning import spawn

What = Literal["eval", "cost"]
Told = Callable[[str], None]
NAME, LOG = "job.json", "job.log"
TELL_SECONDS = 1.0
LAST_WORDS, LAST_BYTES = 3, 4096


@dataclass(frozen=True)
class Job:
    """A command: `progress` in words, `error` where it failed."""

    what: What
    started: float
    process: ProcessIdentity
    progress: str = ""
    error: str = ""

    @property
    def is_running(self) -> bool:
        """Whether a process is at it, here or on another host."""
        return not self.error and self.process.liveness() != "gone"


def read(run: Path) -> Job | None:
    """The job of a run that is under way, or that failed."""
    try:
        content = json.loads((run / FOLDER / NAME).read_bytes())
        return Job(
            content["what"],
            float(content["started"]),
            ProcessIdentity(**content["process"]),
            str(content["progress"]),
            str(content["error"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def words(run: Path, job: Job) -> str:
    """How it is going, for people."""
    if job.is_running:
        return f"context {job.what} is running" + (f": {job.progress}" if job.progress else "")
    said = job.error or _last_words(run / FOLDER / LOG, job.started) or "its process is gone"
    return f"context {job.what} failed: {said}"


def start(run: Path, what: What, options: Sequence[str]) -> None:
    """Start `workbench context …` for a run, detached. Raises `RunError` where one is under way."""
    job = read(run)
    if job is not None and job.is_running:
        raise RunError(f"context {job.what} is running already", where=str(run))
    folder = paths.ensure_dir(run / FOLDER)
    with contextlib.suppress(OSError):
        (folder / LOG).unlink()
    command = [sys.executable, "-m", "workbench", "context", what, str(run), *options]
    began = time.time()
    pid = spawn(command, folder / LOG, waits_for=f"context {what}")
    # Long before it has imported what it needs to write this itself, and it may be refused before that.
    _write(run, Job(what, began, ProcessIdentity.of(pid)))


def stop(run: Path) -> None:
    """End what is under way. Raises `RunError` where nothing is, or not on this machine."""
    job = read(run)
    if job is not None and job.is_running and job.process.liveness() == "elsewhere":
        raise RunError(
            f"context {job.what} was started on {job.process.host}, and can be ended only there",
            where=f"process {job.process.pid}",
            hint=f"if it is gone, remove {run / FOLDER / NAME}",
        )
    if job is None or not job.is_running:
        raise RunError("nothing is measured of it now", where=str(run))
    # As from the keyboard: so the process that measures is ended too.
    with contextlib.suppress(ProcessLookupError):
        os.kill(job.process.pid, signal.SIGINT)


@contextlib.contextmanager
def recorded(run: Path | None, what: What) -> Iterator[Told]:
    """Tell of a command while it is at work; what is given tells how far it is. Nothing for a model that is
    of no run, and where another command is at it. A disk that refuses the record does not keep the command
    from its work, and never hides why that failed."""
    own = ProcessIdentity.current()
    before = None if run is None else read(run)
    other = before is not None and before.is_running and before.process != own
    if run is None or other:
        yield lambda progress: None
        return
    began, told_at = time.time(), 0.0

    def write(progress: str = "", error: str = "") -> None:
        with contextlib.suppress(WorkbenchError):
            _write(run, Job(what, began, own, progress, error))

    def tell(progress: str) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= TELL_SECONDS:
            told_at = time.monotonic()
            write(progress=progress)

    write()
    try:
        yield tell
    except WorkbenchError as error:
        write(error="; ".join(part for part in (error.message, error.where, error.hint) if part))
        raise
    except Exception as error:
        write(error=f"{type(error).__name__}: {error}")
        raise
    except KeyboardInterrupt:
        forget(run)
        raise
    forget(run)


def forget(run: Path) -> None:
    """Take the record away."""
    with contextlib.suppress(OSError):
        (run / FOLDER / NAME).unlink()


def _write(run: Path, job: Job) -> None:
    content: dict[str, Any] = asdict(job)
    folder = paths.ensure_dir(run / FOLDER)
    replace_file(folder / NAME, json.dumps(content).encode())


def _last_words(log: Path, since: float) -> str:
    """The end of a log that was written in after a moment: one that is older is of another command."""
    try:
        with log.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_mtime < int(since):
                return ""
            file.seek(max(0, status.st_size - LAST_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return " ".join(line.strip() for line in lines[-LAST_WORDS:])
