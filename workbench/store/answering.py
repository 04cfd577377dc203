"""What a process answers, which is ended when nobody waits for it any longer."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence

PATIENCE, GRACE = 0.5, 20.0
"""Seconds between looks whether the answer is still wanted, and those that a process has to tidy up."""


def answer_of(
    command: Sequence[str], *, asked: bytes = b"", stopped: Callable[[], bool] = lambda: False
) -> tuple[int, bytes, bytes]:
    """The exit code and both outputs of a process that reads `asked`; it gets SIGTERM once `stopped` says
    so, and is killed where it has not ended `GRACE` seconds later."""
    given_up: float | None = None
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        sent: bytes | None = asked
        while True:
            try:
                out, err = process.communicate(sent, timeout=PATIENCE)
                return process.returncode, out, err
            except subprocess.TimeoutExpired:
                sent = None  # what was begun goes on by itself
                if given_up is None and stopped():
                    given_up = time.monotonic()
                    process.terminate()
                elif given_up is not None and time.monotonic() > given_up + GRACE:
                    process.kill()
