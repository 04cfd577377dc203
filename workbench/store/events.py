"""`events.jsonl`: what went wrong in a run and what was done about it, one event a line, in words and
numbers.

Nothing is ever taken out of it, neither by a rollback nor by a resumed run. A run that is killed and goes
over the same steps again comes to the same events again; readers show such a one once.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from workbench.errors import storage_error
from workbench.store.json_lines import LinesWriter, parsed

ALARM, NOTE = "alarm", "note"
"""How grave an event is: something was done, or should be; something is worth knowing."""

LATEST = 2**35
"""Seconds since the epoch, in about a thousand years: later ones are damage."""

TITLES = {
    "loss_spike": "loss spike",
    "divergence": "divergence",
    "loss_not_finite": "loss is no number",
    "gradient_not_finite": "gradient is no number",
    "loss_outlier": "one bad batch",
    "ended_high": "the loss was high at the end",
    "logit_growth": "logits grow",
    "loss_scale": "loss scale",
    "kl_runaway": "KL runaway",
    "kl_negative": "KL below zero",
    "entropy_collapse": "entropy collapse",
    "length_drift": "length drift",
    "not_finite": "no number",
}
"""Kinds of events, and what a line calls them. A kind that is not here is shown by its own name."""


@dataclass(frozen=True)
class RunEvent:
    """One event.

    `step` is the step at which it was seen; `action` what was done (`rolled_back`, `stopped`, `warned`,
    `none`); the four texts say what happened, why that probably is, what was done, and what a person may try.
    `numbers` are what it was seen by; `rows` what was left out, with where it came from; `to_step` where a
    rollback went. `rollbacks` counts those before it.
    """

    step: int
    kind: str
    severity: str = ALARM
    action: str = "none"
    happened: str = ""
    why: str = ""
    done: str = ""
    advice: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, Any] | None = None
    to_step: int | None = None
    rollbacks: int = 0
    num_tokens: int = 0
    time: float = 0.0

    @property
    def title(self) -> str:
        """Its kind, for people."""
        return TITLES.get(self.kind, self.kind)

    @property
    def is_alarm(self) -> bool:
        return self.severity == ALARM

    @property
    def texts(self) -> list[tuple[str, str]]:
        """The parts of the explanation that there are, each under its name."""
        named = (("what", self.happened), ("why", self.why), ("done", self.done), ("try", self.advice))
        return [(name, text) for name, text in named if text]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a file or a program."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> RunEvent | None:
        """The event of a record; None for one that is damaged or of another kind."""
        step, kind = record.get("step"), record.get("kind")
        if not isinstance(step, int | float) or not math.isfinite(step) or not isinstance(kind, str):
            return None
        texts = {name: _text(record.get(name)) for name in ("happened", "why", "done", "advice")}
        numbers, rows = record.get("numbers"), record.get("rows")
        return cls(
            step=int(step),
            kind=kind,
            severity=_text(record.get("severity")) or ALARM,
            action=_text(record.get("action")) or "none",
            **texts,
            numbers=dict(numbers) if isinstance(numbers, dict) else {},
            rows=dict(rows) if isinstance(rows, dict) else None,
            to_step=_whole(record.get("to_step")),
            rollbacks=_whole(record.get("rollbacks")) or 0,
            num_tokens=_whole(record.get("num_tokens")) or 0,
            time=_moment(record.get("time")),
        )


def line_of(event: RunEvent) -> str:
    """An event on one line: step, what it is, what was done. Its words are a file's: show them literally."""
    done = {
        "rolled_back": f"rolled back to step {event.to_step:,}"
        if event.to_step is not None
        else "rolled back",
        "stopped": "the run ends",
        "warned": "only noted",
    }.get(event.action, "")
    head = f"step {event.step:,}: {event.title}" + (f", {done}" if done else "")
    return f"{head}. {event.happened}" if event.happened else head


class EventWriter:
    """Appends events; the file is made with the first. Raises `StorageError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: LinesWriter | None = None

    def write(self, event: RunEvent) -> None:
        """One event more, on disk before this returns."""
        if self._lines is None:
            self._lines = LinesWriter(self.path, alone=False)
        self._lines.write(event.as_dict())
        self._lines.sync()

    def close(self) -> None:
        """Let go of the file; nothing happens where there is none."""
        if self._lines is not None:
            self._lines.close()
        self._lines = None


class EventTail:
    """The events of a run, kept up with a file that may still grow."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._inode: int | None = None
        self._by_key: dict[tuple[int, str, int, int | None], RunEvent] = {}

    @property
    def events(self) -> list[RunEvent]:
        """All events so far, in the order in which they first came."""
        return list(self._by_key.values())

    def poll(self) -> list[RunEvent]:
        """Read what is new and return it, without what was told before. Raises `StorageError`."""
        new: list[RunEvent] = []
        for line in self._new_lines():
            record = parsed(line)
            event = None if record is None else RunEvent.from_dict(record)
            if event is None:
                continue
            key = (event.step, event.kind, event.rollbacks, event.to_step)
            if key not in self._by_key:
                new.append(event)
            self._by_key[key] = event
        return new

    def _new_lines(self) -> list[bytes]:
        """The whole lines behind those read before; a file that was replaced is read from its start."""
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._inode, self._offset = status.st_ino, 0
                    self._by_key.clear()
                if status.st_size == self._offset:
                    return []
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            self._by_key.clear()
            self._offset, self._inode = 0, None
            return []
        except OSError as error:
            raise storage_error(error, self.path) from None
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.splitlines()


def read_events(path: Path) -> list[RunEvent]:
    """All events of a run as they are now, for commands."""
    tail = EventTail(path)
    tail.poll()
    return tail.events


def as_json(event: RunEvent) -> bytes:
    """One line of JSON, as programs that are told get it; what is not finite is null."""
    return orjson.dumps(event.as_dict())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _moment(value: Any) -> float:
    """Seconds since the epoch that a calendar has a date for; 0 for others."""
    number = _number(value)
    return float(number) if number is not None and 0 <= number < LATEST else 0.0


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
