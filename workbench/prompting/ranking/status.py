"""What the generator of a session says of itself, for whoever looks: a small file, replaced as it goes on.

ranking/<session>/   generation.json   generator.log   generator.lock   failures.jsonl   stop-requested
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from workbench import paths
from workbench.errors import storage_error
from workbench.store.files import replace_file
from workbench.store.preferences.sessions import Session
from workbench.store.process import ProcessIdentity

State = Literal["idle", "starting", "running", "stopping", "finished", "stopped", "failed", "lost"]
ACTIVE: tuple[State, ...] = ("starting", "running", "stopping")
START_SECONDS = 60.0
"""A process that has not said who it is after so long never came up."""
SILENCE_SECONDS = 90.0
"""A generator on another host that has said nothing for so long is gone."""


@dataclass
class GenerationStatus:
    """How far the answers of a session are.

    `state` is `idle` where nothing was ever generated, `finished` when all answers are there but those that
    failed, `lost` where the process is gone without a word. `done` of `total` answers are in the database,
    of which `failures` more came to nothing; `answers_per_second` is of the last minute, None before the
    first. `message` says what it is at, or why it ended, in a sentence; `error` has an error's parts.
    """

    state: State = "idle"
    message: str = ""
    done: int = 0
    total: int = 0
    failures: int = 0
    answers_per_second: float | None = None
    notes: tuple[str, ...] = ()
    error: dict[str, str] | None = None
    process: ProcessIdentity | None = None
    session: tuple[int, float] | None = None
    updated: float = field(default_factory=time.time)

    @property
    def is_active(self) -> bool:
        """Whether a generator is at it, or about to be."""
        return self.state in ACTIVE

    @property
    def seconds_left(self) -> float | None:
        """What the missing answers will take, None where that cannot be told."""
        if not self.is_active or not self.answers_per_second:
            return None
        return max(0, self.total - self.done - self.failures) / self.answers_per_second


def folder_of(name: str) -> Path:
    """Where what belongs to the generator of the session of a name is kept."""
    return paths.home() / "ranking" / name


def status_path(name: str) -> Path:
    return folder_of(name) / "generation.json"


def log_path(name: str) -> Path:
    """What the generator printed."""
    return folder_of(name) / "generator.log"


def lock_path(name: str) -> Path:
    return folder_of(name) / "generator.lock"


def stop_path(name: str) -> Path:
    """Its presence asks the generator to end, from whatever host."""
    return folder_of(name) / "stop-requested"


def failures_path(name: str) -> Path:
    """Answers that came to nothing, one line each, with the reason."""
    return folder_of(name) / "failures.jsonl"


def identity_of(session: Session) -> tuple[int, float]:
    """What tells a session from a later one of the same name."""
    return session.id, session.created


def read_status(session: Session) -> GenerationStatus:
    """The status as a person should see it; what cannot be read is `idle`."""
    status = _read(session)
    return _read(session) if status.state == "lost" else status


def write_status(name: str, status: GenerationStatus) -> None:
    """Replace the file. Raises `StorageError`."""
    status.updated = time.time()
    paths.ensure_dir(folder_of(name))
    replace_file(status_path(name), json.dumps(asdict(status), indent=1).encode())


def remove_folder(name: str) -> None:
    """Remove what a generator left. Raises `StorageError`."""
    try:
        shutil.rmtree(folder_of(name))
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(error, folder_of(name)) from None


def _read(session: Session) -> GenerationStatus:
    try:
        value: dict[str, Any] = json.loads(status_path(session.name).read_bytes())
        process, whose = value.pop("process"), value.pop("session")
        status = GenerationStatus(
            **{**value, "notes": tuple(value["notes"])},
            process=ProcessIdentity(**process) if process else None,
            session=(int(whose[0]), float(whose[1])),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return GenerationStatus()
    if status.session != identity_of(session):
        return GenerationStatus()
    if status.state in ACTIVE and not _lives(status):
        status.state = "lost"
        status.message = f"the generator's process is gone; what it made is kept ({log_path(session.name)})"
    elif status.state == "running" and stop_path(session.name).exists():
        status.state = "stopping"
    return status


def _lives(status: GenerationStatus) -> bool:
    silent = time.time() - status.updated
    if status.process is None:
        return silent < START_SECONDS
    liveness = status.process.liveness()
    return liveness == "alive" or (liveness == "elsewhere" and silent < SILENCE_SECONDS)
