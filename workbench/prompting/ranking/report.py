"""What the generator says of itself while it works. No torch."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from pathlib import Path

from workbench import paths
from workbench.errors import StorageError, WorkbenchError, storage_error
from workbench.prompting.ranking import status as files
from workbench.prompting.ranking.status import GenerationStatus, State, identity_of, write_status
from workbench.store.preferences.sessions import Session
from workbench.store.process import ProcessIdentity

WRITE_SECONDS = 0.5
BEAT_SECONDS = 10.0
RATE_SECONDS = 60.0
"""How long the rate of answers looks back."""
RESERVE_BYTES = 16 << 10
"""Kept on disk for the last words of a generator that filled it."""


class Report:
    """The status of one generator; written as it changes, twice a second at most, and as a heartbeat."""

    def __init__(self, session: Session, done: int, total: int, failures: int) -> None:
        self._name = session.name
        self._answered: deque[tuple[float, int]] = deque()
        self._began = time.monotonic()
        self._written, self._dirty = 0.0, True
        self.status = GenerationStatus(
            "running",
            "",
            done,
            total,
            failures,
            process=ProcessIdentity.current(),
            session=identity_of(session),
        )
        self._reserve()

    def say(self, message: str) -> None:
        """What it is at."""
        if message != self.status.message:
            if message:
                _log(message)
            self.status.message, self._dirty = message, True
            self.tick()

    def begin(self) -> None:
        """The models are there, and are asked from now on."""
        if not self._answered:
            self._began = time.monotonic()
        self.say("")

    def answered(self, answers: int) -> None:
        """More answers are there."""
        self.status.done += answers
        self._answered.append((time.monotonic(), answers))
        self._dirty = True
        self.tick()

    def failed(self, answers: int) -> None:
        """Answers came to nothing."""
        self.status.failures += answers
        self._dirty = True
        self.tick()

    def note(self, notes: tuple[str, ...]) -> None:
        """What a server could not do as it was asked."""
        new = tuple(note for note in notes if note not in self.status.notes)
        if new:
            self.status.notes += new
            self._dirty = True

    def tick(self, *, now: bool = False) -> None:
        """Write the status where it changed a while ago, or nothing was written for long. Raises
        `StorageError`."""
        passed = time.monotonic() - self._written
        if now or (self._dirty and passed >= WRITE_SECONDS) or passed >= BEAT_SECONDS:
            self.status.answers_per_second = self._rate()
            write_status(self._name, self.status)
            self._written, self._dirty = time.monotonic(), False

    def end(self, state: State, message: str, error: WorkbenchError | None = None) -> None:
        """The last word: it is said even where the disk is full."""
        status = self.status
        status.state, status.message = state, message
        status.error = None if error is None else error.as_dict()
        with contextlib.suppress(OSError):
            self._reserve_path.unlink(missing_ok=True)
        with contextlib.suppress(StorageError):
            self.tick(now=True)
        _log(f"{state}: {message if error is None else error.render()}")

    @property
    def _reserve_path(self) -> Path:
        return files.folder_of(self._name) / "reserve"

    def _reserve(self) -> None:
        """Take the room that the last words need. Raises `StorageError`."""
        folder = paths.ensure_dir(files.folder_of(self._name))
        try:
            (folder / "reserve").write_bytes(os.urandom(RESERVE_BYTES))
        except OSError as error:
            raise storage_error(error, folder) from None

    def _rate(self) -> float | None:
        """Answers a second over the last minute, or since it began if that is less."""
        now = time.monotonic()
        while self._answered and now - self._answered[0][0] > RATE_SECONDS:
            self._answered.popleft()
        spent = min(RATE_SECONDS, now - self._began)
        made = sum(count for _, count in self._answered)
        return made / spent if made and spent > 0 else None


def _log(message: str) -> None:
    """A line of the log, which is lost where the disk is full."""
    with contextlib.suppress(OSError):
        print(f"{time.strftime('%F %T')} {message}", flush=True)
