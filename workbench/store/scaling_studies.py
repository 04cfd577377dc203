"""Scaling studies on disk, one folder each: what is studied, its runs, how the queue stands, what came of it.

scaling/<name>/   study.yaml   plan.json   queue.json   queue.log   fit.json   emergence.json
"""

from __future__ import annotations

import difflib
import json
import re
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from workbench import paths
from workbench.errors import RunError, UsageError, storage_error
from workbench.store.files import replace_file
from workbench.store.process import ProcessIdentity

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
SILENCE_SECONDS = 90.0
"""A queue on another host that has said nothing for so long is gone."""
WAITING, RUNNING, DONE, FAILED, STOPPED = "waiting", "running", "done", "failed", "stopped"
"""States of a run in a queue; `stopped`: a person stopped it, and the queue left it alone."""
UNREADABLE = "queue.json cannot be read"


@dataclass
class QueueState:
    """`queue.json`: `state` is planned, running, stopping, stopped or finished; `runs` says for each by name
    its `state`, how many `tries` it took, and its last `error`. Times are seconds since the epoch."""

    state: str = "planned"
    message: str = ""
    process: ProcessIdentity | None = None
    jobs: int = 1
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    updated: float = field(default_factory=time.time)

    @property
    def is_active(self) -> bool:
        """Whether a process is at it now."""
        if self.state not in ("running", "stopping") or self.process is None:
            return False
        liveness = self.process.liveness()
        return liveness == "alive" or (
            liveness == "elsewhere" and time.time() - self.updated < SILENCE_SECONDS
        )

    def seen_state(self) -> str:
        """The state a person should see: `lost` where the process behind an active one is gone."""
        return "lost" if self.state in ("running", "stopping") and not self.is_active else self.state

    def write(self, path: Path) -> None:
        """Replace the file."""
        self.updated = time.time()
        replace_file(path, json.dumps(asdict(self), indent=1).encode())

    @classmethod
    def read(cls, path: Path) -> QueueState:
        """The state at `path`; none yet, or a damaged file, reads as planned, with the reason."""
        try:
            value = json.loads(path.read_bytes())
            process = ProcessIdentity(**value["process"]) if value.get("process") else None
            return cls(
                str(value["state"]),
                str(value["message"]),
                process,
                int(value["jobs"]),
                dict(value["runs"]),
                float(value["updated"]),
            )
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError, KeyError) as error:
            return cls(message=f"{UNREADABLE}: {error}")


@dataclass(frozen=True)
class Study:
    """The folder of a study, addressed; nothing is read before it is asked for."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def spec_path(self) -> Path:
        return self.path / "study.yaml"

    @property
    def plan_path(self) -> Path:
        return self.path / "plan.json"

    @property
    def queue_path(self) -> Path:
        return self.path / "queue.json"

    @property
    def lock_path(self) -> Path:
        return self.path / "queue.lock"

    @property
    def log_path(self) -> Path:
        return self.path / "queue.log"

    @property
    def stop_path(self) -> Path:
        """Its presence asks the queue to stop, from whatever host."""
        return self.path / "stop-requested"

    @property
    def fit_path(self) -> Path:
        return self.path / "fit.json"

    @property
    def emergence_path(self) -> Path:
        return self.path / "emergence.json"

    def spec(self) -> dict[str, Any]:
        """The study's file as a mapping. Raises `RecipeError` where it was damaged by hand."""
        from workbench.recipe import yaml_file

        return yaml_file.read(self.spec_path)

    def plan(self) -> dict[str, Any]:
        """The plan as plain values. Raises `RunError` where it was damaged."""
        return self._read(self.plan_path) or self._damaged(self.plan_path)

    def fit(self) -> dict[str, Any] | None:
        """What the last fit gave; None before there was one."""
        return self._read(self.fit_path)

    def emergence(self) -> dict[str, Any] | None:
        """What the last evaluation of sums gave; None before there was one."""
        return self._read(self.emergence_path)

    def queue(self) -> QueueState:
        """How the queue stands. Its process says its last word before it ends: one that is found gone may
        have spoken since, so the file is read once more."""
        state = QueueState.read(self.queue_path)
        return QueueState.read(self.queue_path) if state.seen_state() == "lost" else state

    def write(self, path: Path, value: dict[str, Any]) -> None:
        """Put plain values at one of the study's files. Raises `StorageError`."""
        replace_file(path, json.dumps(value, indent=1, ensure_ascii=False).encode(), durable=True)

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            value = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return self._damaged(path)
        return value if isinstance(value, dict) else self._damaged(path)

    def _damaged(self, path: Path) -> dict[str, Any]:
        raise RunError(
            f"{path.name} of the study “{self.name}” cannot be read",
            where=str(path),
            hint={
                "fit.json": f"fit it again: workbench scale fit {self.name}",
                "emergence.json": f"ask again: workbench scale emergence {self.name}",
            }.get(path.name, "plan it again: workbench scale plan"),
        )


def studies_dir() -> Path:
    """The folder that holds one folder a study."""
    return paths.home() / "scaling"


def list_studies() -> list[Study]:
    """All of them, newest first."""
    folder = studies_dir()
    try:
        found = [path for path in folder.iterdir() if (path / "plan.json").exists()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(error, folder) from None
    return [Study(path) for path in sorted(found, key=_made, reverse=True)]


def _made(path: Path) -> tuple[float, str]:
    try:
        return ((path / "study.yaml").stat().st_mtime, path.name)
    except OSError:
        return (0.0, path.name)


def find_study(name: str) -> Study:
    """A study by name. Raises `RunError`."""
    if NAME.fullmatch(name) and (studies_dir() / name / "plan.json").exists():
        return Study(studies_dir() / name)
    known = [study.name for study in list_studies()]
    near = difflib.get_close_matches(name, known, n=1)
    raise RunError(
        f"there is no study called “{name}”",
        where=str(studies_dir()),
        hint=f"did you mean {near[0]}?" if near else "workbench scale list shows the studies",
    )


def new_study(name: str) -> Study:
    """The address of a study that may be planned under this name; its folder is made, if need be.

    Raises `UsageError` for a name that is none, and `RunError` where a study of this name has begun.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"“{name}” is no name for a study", hint="letters, digits, dots, dashes; at most 60 of them"
        )
    study = Study(studies_dir() / name)
    queue = study.queue()
    # Of a queue that cannot be read nobody knows whether it has begun.
    if queue.runs or queue.message.startswith(UNREADABLE):
        raise RunError(
            f"the study “{name}” has begun, and its plan stays as it is"
            if queue.runs
            else f"whether the study “{name}” has begun cannot be told: {queue.message}",
            where=str(study.path),
            hint=f"choose another with --name, or remove it: workbench scale rm {name}",
        )
    paths.ensure_dir(study.path)
    return study


def delete_study(study: Study) -> None:
    """Remove a study's folder; its runs stay. Raises `RunError` while its queue runs."""
    if study.queue().is_active:
        raise RunError(
            f"the queue of “{study.name}” is running",
            where=str(study.path),
            hint=f"workbench scale stop {study.name} first",
        )
    try:
        shutil.rmtree(study.path)
    except OSError as error:
        raise storage_error(error, study.path) from None
