"""`status.json`: what a run is doing, written by its worker, read by everyone else."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from workbench.store.files import replace_file
from workbench.store.process import ProcessIdentity

# What a worker writes. `lost` is never written: it is what a reader sees when the worker is gone.
ACTIVE_STATES = ("queued", "starting", "preparing", "running", "saving", "stopping")
FINAL_STATES = ("finished", "stopped", "failed")
LOST = "lost"

# A worker beats every ten seconds at the slowest, so a minute and a half of silence from another
# host, or from a worker that was started and never said who it is, means that it is gone.
SILENCE_SECONDS = 90.0

_TEXTS = ("state", "message", "device", "objective", "model")
_MAPPINGS = ("error", "progress")
_ALWAYS_NUMBERS = ("step", "epoch", "num_tokens", "num_processes", "created", "updated")
_NUMBERS_OR_NONE = (
    *("max_steps", "loss", "eval_loss", "best_eval_loss", "best_step", "tokens_per_second", "eta_seconds"),
    *("num_parameters", "started", "ended", "session"),
)


@dataclass
class Status:
    """One reading of `status.json`. Times are seconds since the epoch; missing numbers are None."""

    state: str = "queued"
    message: str = ""
    error: dict[str, str] | None = None
    process: ProcessIdentity | None = None
    session: int | None = None
    step: int = 0
    max_steps: int | None = None
    epoch: float = 0.0
    loss: float | None = None
    eval_loss: float | None = None
    best_eval_loss: float | None = None
    best_step: int | None = None
    num_tokens: int = 0
    tokens_per_second: float | None = None
    eta_seconds: float | None = None
    progress: dict[str, Any] | None = None
    device: str = ""
    num_processes: int = 1
    objective: str = "clm"
    model: str = ""
    num_parameters: int | None = None
    created: float = field(default_factory=time.time)
    started: float | None = None
    updated: float = field(default_factory=time.time)
    ended: float | None = None

    def seen_state(self) -> str:
        """The state a person should see: `lost` when the process behind an active state is gone."""
        if self.state not in ACTIVE_STATES or self.state == "queued":
            return self.state
        liveness = self.process.liveness() if self.process else "elsewhere"
        if liveness == "gone" or (liveness == "elsewhere" and time.time() - self.updated > SILENCE_SECONDS):
            return LOST
        return self.state

    @property
    def is_active(self) -> bool:
        """Whether a worker is at it now."""
        return self.seen_state() in ACTIVE_STATES and self.state != "queued"

    def write(self, path: Path, *, durable: bool = False) -> None:
        """Replace the file at `path`, stamping `updated`."""
        self.updated = time.time()
        replace_file(path, json.dumps(asdict(self), allow_nan=True, indent=1).encode(), durable=durable)

    def _check_kinds(self) -> None:
        """Raise `TypeError` naming the values of the wrong kind: a person may have edited the file."""
        kinds: list[tuple[tuple[str, ...], tuple[type, ...]]] = [
            (_TEXTS, (str,)),
            (_MAPPINGS, (dict, type(None))),
            (_ALWAYS_NUMBERS, (int, float)),
            (_NUMBERS_OR_NONE, (int, float, type(None))),
        ]
        wrong = [
            name for names, allowed in kinds for name in names if not isinstance(getattr(self, name), allowed)
        ]
        if wrong:
            raise TypeError(f"values of the wrong kind: {', '.join(wrong)}")

    @classmethod
    def read(cls, path: Path) -> Status:
        """The status at `path`; a missing or damaged file reads as state `unknown`, with the reason."""
        try:
            value = json.loads(path.read_bytes())
            known = {item.name for item in fields(cls)}
            status = cls(**{key: item for key, item in value.items() if key in known})
            if status.process is not None:
                status.process = ProcessIdentity(**value["process"])
            status._check_kinds()
        except FileNotFoundError:
            return cls(state="unknown", message="no status.json", created=0.0, updated=0.0)
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            return cls(
                state="unknown", message=f"status.json cannot be read: {error}", created=0.0, updated=0.0
            )
        return status
