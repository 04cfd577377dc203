"""The worker's side of `status.json`: throttled updates, a heartbeat, and a last word on a full disk."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

from workbench.errors import StorageError, WorkbenchError, storage_error
from workbench.store.process import ProcessIdentity
from workbench.store.runs import Run
from workbench.training.notify import run_ended

HEARTBEAT_SECONDS = 10.0
THROTTLE_SECONDS = 0.5
# Given back before the final status is written, so that even a full disk has room for it.
RESERVE_BYTES = 64 * 1024


class Reporter:
    """Keeps `status.json` true. Only rank 0 reports; the others hold a silent one."""

    def __init__(self, run: Run, *, enabled: bool) -> None:
        self.run = run
        self.enabled = enabled
        self.status = run.status()
        self._last_write = 0.0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._reserve = run.path / ".reserve"

    def begin(self) -> None:
        """Say who works on the run, and start the heartbeat. Raises `StorageError`."""
        status = self.status
        status.state, status.message, status.error, status.progress = "starting", "", None, None
        status.process = ProcessIdentity.current()
        status.session = os.getsid(0)
        status.started, status.ended = status.started or time.time(), None
        if not self.enabled:
            return
        self._write()
        try:
            self._reserve.write_bytes(os.urandom(RESERVE_BYTES))
        except OSError as error:
            raise storage_error(error, self.run.path) from None
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def update(self, *, now: bool = False, **changes: Any) -> None:
        """Change fields of the status; written at most twice a second unless `now`."""
        for name, value in changes.items():
            setattr(self.status, name, value)
        if self.enabled and (now or time.monotonic() - self._last_write >= THROTTLE_SECONDS):
            self._write()

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Where a long preparation stands."""
        finished = total is not None and done >= total
        self.update(progress={"what": what, "done": done, "total": total}, now=finished)

    def finish(self, state: str, message: str = "", error: WorkbenchError | None = None) -> None:
        """Write the final state; never raises, for there is nothing left to do about it. `tell` is next."""
        self._over.set()
        if not self.enabled:
            return
        try:
            self._reserve.unlink(missing_ok=True)
            self.run.stop_path.unlink(missing_ok=True)
        except OSError as problem:
            print(f"cannot clean up: {problem}", file=sys.stderr)
        status = self.status
        status.state, status.message, status.ended = state, message, time.time()
        status.error = error.as_dict() if error else None
        status.progress = status.eta_seconds = None
        try:
            self._write(durable=True)
        except StorageError as problem:
            print(f"the final state “{state}” could not be written\n{problem.render()}", file=sys.stderr)

    def tell(self) -> None:
        """Tell whom it concerns of the end, where there was one. It may take long: let go of the run
        before."""
        if self.enabled and self._over.is_set():
            run_ended(self.run, self.status)

    def _write(self, *, durable: bool = False) -> None:
        with self._lock:
            self._last_write = time.monotonic()
            self.status.write(self.run.status_path, durable=durable)

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            try:
                self._write()
            except StorageError as error:
                # The next thing the loop itself writes fails the same way, and ends the run properly.
                print(error.render(), file=sys.stderr)
