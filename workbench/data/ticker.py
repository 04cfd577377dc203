"""Telling how far a long stage is, often enough for an eye and rarely enough to cost nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""`progress(what, done, total)`: `done` and `total` in bytes of text; `total` is None where unknown."""

READING = "reading the text"
TRAINING_TOKENIZER = "training the tokenizer"
TOKENISING = "tokenising"
WAITING = "waiting for another process that prepares the same data"

INTERVAL = 0.25


class Ticker:
    """Passes on the progress of one stage about four times a second, and once at its end."""

    def __init__(self, progress: Progress, what: str, total: int | None = None) -> None:
        self._progress, self._what, self._total = progress, what, total
        self._done = 0
        self._next = time.monotonic() + INTERVAL

    def add(self, amount: int) -> None:
        """Count `amount` more; most calls only add."""
        self._done += amount
        now = time.monotonic()
        if now >= self._next:
            self._next = now + INTERVAL
            self._progress(self._what, self._done, self._total)

    def finish(self) -> None:
        """Say that the stage is complete."""
        self._progress(self._what, self._done, self._done if self._total is None else self._total)
