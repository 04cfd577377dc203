"""Several runs by one set of processes, and whether two of them were the same."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import curve

from workbench.store.runs import Run

SCRIPT = Path(__file__).parent / "many_runs.py"


def train(runs: list[tuple[str, int, str | None]], folder: Path) -> None:
    """Train runs in processes that do them all."""
    jobs = folder / "jobs.json"
    jobs.write_text(json.dumps(runs))
    port, most = free_ports(len(runs) + 1), max(processes for _, processes, _ in runs)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(most)]
    command += ["--master_port", str(port), str(SCRIPT), str(jobs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def free_ports(count: int) -> int:
    """The first of so many neighbouring ports that are free, below those that the system gives to anyone."""
    for first in range(20000 + os.getpid() % 250 * 40, 32000, 40):
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for port in range(first, first + count):
                held.enter_context(socket.socket()).bind(("", port))
            return first
    raise AssertionError("no ports are free")


def assert_same_curve(run: Run, reference: Run) -> None:
    """In fp32, what rounding leaves."""
    ours, theirs = curve(run), curve(reference)
    for name in ("loss", "grad_norm", "eval_loss"):
        assert [step for step, _ in ours[name]] == [step for step, _ in theirs[name]], run.name
        expected = pytest.approx([v for _, v in theirs[name]], abs=1e-4)
        assert [v for _, v in ours[name]] == expected, run.name
    assert ours["num_tokens"] == theirs["num_tokens"], run.name
