"""Queues whose runs a stand-in does in a moment."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workbench.store.scaling_studies import Study

FAKE = Path(__file__).with_name("fake_training.py")


@pytest.fixture
def begin_queue() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a queue whose runs are done by the stand-in; what still runs at the end is ended."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(study: Study, jobs: int = 1, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(FAKE), "queue", str(study.path), str(jobs)]
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, start_new_session=True
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
