"""Which process of a run failed first, and why: each says so before it goes, and who started them looks.

When one process of several dies the others fail too, a moment later, for want of it. What a person needs to
know is the first: `ranks/failure-00002.json` is what rank 2 had to say; one that was killed had no time to.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import StorageError, TrainingError, WorkbenchError
from workbench.store.files import replace_file
from workbench.store.ranks import FOLDER

if TYPE_CHECKING:
    from workbench.store.runs import Run

LOST_SIGNS = (
    *("connection closed by peer", "connection reset by peer", "connection refused", "broken pipe"),
    *("socket timeout", "timed out waiting", "wait timeout", "recv timeout", "gloo connectfullmesh"),
    *("nccl", "distnetworkerror", "distbackenderror", "the client socket has", "failed to recv"),
)
"""What gloo, NCCL and torch's store say when another process is gone."""
OWN_SIGNS = ("ncclinvalid", "duplicate gpu", "unhandled cuda error", "out of memory")
"""What NCCL says of a process's own trouble."""


@dataclass(frozen=True)
class Failure:
    """How one process ended. `is_lost`: for want of another, not by itself; `is_signal`: something ended
    it."""

    rank: int
    message: str
    hint: str = ""
    is_lost: bool = False
    is_signal: bool = False
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    time: float = field(default_factory=time.time)

    @property
    def who(self) -> str:
        """The process as a person would look for it."""
        return f"rank {self.rank} on {self.host} (process {self.pid})"

    @property
    def words(self) -> str:
        """What happened, in a line."""
        return f"{self.who} {'' if self.is_signal else 'failed: '}{self.message}"


def is_lost(error: BaseException) -> bool:
    """Whether an error only says that another process is gone or does not answer."""
    text = f"{type(error).__name__}: {error}".lower()
    if not isinstance(error, RuntimeError | OSError) or any(sign in text for sign in OWN_SIGNS):
        return False
    return any(sign in text for sign in LOST_SIGNS)


def lost(run: Run) -> TrainingError:
    """What the processes say that are left behind."""
    return TrainingError(
        "another process of the run is gone, or does not answer",
        where=str(run.log_path),
        hint="the log says which ended first; go on from the last checkpoint: "
        f"workbench runs resume {run.name}",
    )


def path_of(run: Run, rank: int) -> Path:
    """Where a rank leaves its last words."""
    return run.path / FOLDER / f"failure-{rank:05}.json"


def forget(run: Run, rank: int) -> None:
    """A new beginning: what this rank said before is over."""
    path_of(run, rank).unlink(missing_ok=True)


def leave_word(run: Run, rank: int, error: WorkbenchError, *, is_lost: bool) -> None:
    """Write down how this process fails; see `write`."""
    write(run, Failure(rank, error.message, error.hint or "", is_lost))


def write(run: Run, failure: Failure) -> None:
    """Write a failure down; never raises, for there is nothing left to do about it."""
    with contextlib.suppress(StorageError, OSError):
        path = path_of(run, failure.rank)
        path.parent.mkdir(exist_ok=True)
        replace_file(path, json.dumps(asdict(failure)).encode())


def words_of(run: Run, since: float) -> list[Failure]:
    """What ranks on all machines have said since a time."""
    found = []
    for path in sorted((run.path / FOLDER).glob("failure-*.json")):
        try:
            failure = Failure(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            continue
        if failure.time >= since:
            found.append(failure)
    return found


def killed(rank: int, number: int, pid: int, seen: float) -> Failure:
    """A process that a signal ended."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    hint = {
        "SIGKILL": "by a person, or by the system because memory ran out: `dmesg` says so",
        "SIGSEGV": "a crash in native code; the log may hold its last words",
        "SIGABRT": "by itself or a library, such as NCCL after a silence; the log holds its last words",
    }.get(name, "")
    return Failure(rank, f"was ended by {name}", hint, is_signal=True, pid=pid, time=seen)


def first(spoken: list[Failure], ended: list[Failure]) -> Failure | None:
    """The failure that the others follow from: an error of a process's own, else a signal, else the first
    that missed another. Those who were told to end because of it do not count."""
    own = [failure for failure in spoken if not failure.is_lost]
    said = {failure.rank for failure in spoken}
    signals = [failure for failure in ended if "SIGTERM" not in failure.message and failure.rank not in said]
    for failures in (own, signals, spoken):
        if failures:
            return min(failures, key=lambda failure: failure.time)
    return None
