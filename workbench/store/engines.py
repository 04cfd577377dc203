"""Engines as the interface finds them: one folder each, with what the engine says of itself.

    engines/<name>/   state.json   engine.log

Their sockets lie elsewhere, in a folder that only their owner may enter: a socket's path may have only
some hundred characters, and homes may be on file systems that know no sockets.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from workbench import paths
from workbench.errors import ServerError
from workbench.store.files import replace_file
from workbench.store.process import ProcessIdentity

ACTIVE = ("starting", "loading", "ready")
"""States of an engine that serves or will. One that is `stopping` still lives, but takes nothing new."""
STOPPING = "stopping"
START_SECONDS = 60.0
"""A process that has not said who it is after so long never came up."""


@dataclass
class EngineState:
    """One reading of `state.json`. `error` has an error's parts; times are seconds since the epoch."""

    name: str
    model: str = ""
    options: list[str] = field(default_factory=list)
    state: str = "starting"
    message: str = ""
    socket: str = ""
    url: str = ""
    process: ProcessIdentity | None = None
    error: dict[str, str] | None = None
    details: dict[str, Any] = field(default_factory=dict)
    created: float = field(default_factory=time.time)

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        return engines_dir() / self.name

    @property
    def log_path(self) -> Path:
        """What the engine printed."""
        return self.folder / "engine.log"

    def seen_state(self) -> str:
        """The state a person should see: `lost` when the process behind an active state is gone, `ended`
        when it was told to go."""
        if self.state not in (*ACTIVE, STOPPING):
            return self.state
        if self.process is None:
            alive = time.time() - self.created < START_SECONDS
        else:
            alive = self.process.liveness() == "alive"
        return self.state if alive else "ended" if self.state == STOPPING else "lost"

    def write(self) -> None:
        """Replace its file."""
        paths.ensure_dir(self.folder)
        replace_file(self.folder / "state.json", json.dumps(asdict(self), indent=1).encode())


def engines_dir() -> Path:
    """The folder that holds one folder an engine."""
    return paths.home() / "engines"


def read(name: str) -> EngineState | None:
    """The state of an engine, or None where there is none by that name."""
    try:
        content = json.loads((engines_dir() / name / "state.json").read_bytes())
        process = content.pop("process", None)
        return EngineState(**content, process=ProcessIdentity(**process) if process else None)
    except (OSError, ValueError, TypeError):
        return None


def every() -> list[EngineState]:
    """All engines there is a trace of, the newest first."""
    try:
        names = [entry.name for entry in engines_dir().iterdir() if entry.is_dir()]
    except OSError:
        return []
    found = [state for name in names if (state := read(name)) is not None]
    return sorted(found, key=lambda state: -state.created)


def socket_dir() -> Path:
    """The folder of sockets, that nobody else may enter. Raises `ServerError` when somebody else could."""
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    folder = Path(base) / f"workbench-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise ServerError(
            f"no folder for sockets: {error.strerror}", where=str(folder), hint="set XDG_RUNTIME_DIR"
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ServerError(
            "the folder for sockets is not yours alone",
            where=str(folder),
            hint=f"remove it, or: chmod 700 {folder}",
        )
    return folder
