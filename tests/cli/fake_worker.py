"""Stands in for a run's worker: `python fake_worker.py RUN_DIR MODE` writes what a worker writes.

Modes: `finish`, `fail` (an error of the user's), `crash` (dies without a word), `wait` (trains until it
is asked to stop), `deaf` (does not heed the asking).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from workbench.store.process import ProcessIdentity
from workbench.store.runs import Run

STEPS = 20


def main(run: Run, mode: str) -> int:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set() if mode != "deaf" else None)
    if mode == "crash":
        print("Segmentation fault \x1b[2J in the fake")
        return 139
    status = run.status()
    status.state, status.process, status.session = "preparing", ProcessIdentity.current(), os.getsid(0)
    status.started, status.device, status.num_parameters = time.time(), "cpu", 1_300_000
    status.progress = {"what": "tokenising", "done": 10, "total": 40}
    status.write(run.status_path)
    if mode == "fail":
        status.state, status.ended, status.progress = "failed", time.time(), None
        status.message = "no such file"
        status.error = {
            "title": "Data",
            "message": "no such file",
            "where": "a.txt",
            "hint": "check the path",
        }
        status.write(run.status_path)
        return 1
    status.state, status.progress, status.max_steps = "running", None, STEPS
    with run.metrics_path.open("a") as metrics, run.samples_path.open("a") as samples:
        for step in range(1, STEPS + 1 if mode == "finish" else 6):
            status.step, status.loss, status.tokens_per_second = step, 5.0 - 0.1 * step, 12_345.0
            status.eta_seconds, status.num_tokens = float(STEPS - step), step * 1000
            record = {"step": step, "time": time.time(), "loss": status.loss, "tokens_per_second": 12_345.0}
            if step % 5 == 0:
                status.eval_loss = status.best_eval_loss = record["eval_loss"] = status.loss + 0.5
                status.best_step = step
                sample = {"step": step, "time": time.time(), "prompt": "def ", "text": "f(x):\n\x1b[31m"}
                samples.write(json.dumps(sample) + "\n")
                (run.path / f"checkpoint-{step}").mkdir(exist_ok=True)
            metrics.write(json.dumps(record) + "\n")
            metrics.flush()
            samples.flush()
            status.write(run.status_path)
    if mode in ("wait", "deaf"):
        stop.wait(60)
        status.state = "stopped"
    else:
        run.final_path.mkdir(exist_ok=True)
        status.state = "finished"
    status.ended, status.eta_seconds = time.time(), None
    status.write(run.status_path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Run(Path(sys.argv[1])), sys.argv[2]))
