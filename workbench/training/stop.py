"""Requests to stop: a signal to the worker, or a file in the run folder."""

from __future__ import annotations

import signal
import time
from types import FrameType

from workbench.store.runs import Run

# The file is for stopping from another host; looking once a second costs nothing even over NFS.
FILE_CHECK_SECONDS = 1.0


class Stopped(Exception):
    """Raised where the worker can stop at once, before there is anything to save."""


class StopRequest:
    """Set by SIGTERM, SIGINT or the presence of `stop-requested`; asked between steps."""

    def __init__(self, run: Run) -> None:
        self._path = run.stop_path
        self._requested = False
        self._next_look = 0.0

    def install(self) -> None:
        """Catch the signals. A hang-up is ignored: the run does not belong to a terminal."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._requested = True

    def __bool__(self) -> bool:
        now = time.monotonic()
        if not self._requested and now >= self._next_look:
            self._next_look = now + FILE_CHECK_SECONDS
            self._requested = self._path.exists()
        return self._requested

    def raise_if_set(self) -> None:
        if self:
            raise Stopped
