"""What a process answers, which is ended when nobody waits for it any longer."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence

PATIENCE = 0.5
"""Seconds between looks whether the answer is still wanted."""


def answer_of(
    command: Sequence[str], *, asked: bytes = b"", stopped: Callable[[], bool] = lambda: False
) -> tuple[int, bytes, bytes]:
    """The exit code and both outputs of a process that reads `asked`; it gets SIGTERM once `stopped` says
    so."""
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
                if stopped():
                    process.terminate()
