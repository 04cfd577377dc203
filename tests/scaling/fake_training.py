"""A queue whose runs a stand-in does: `fake_training.py queue STUDY JOBS`, and `fake_training.py run RUN`.

The loss of a run is that of a planted law; a run whose name stands in $FAIL fails, in $SLOW it takes long.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from unittest import mock

from workbench import paths
from workbench.store.process import ProcessIdentity
from workbench.store.runs import Run

E = 1.5


def work(run: Run) -> None:
    """What a worker writes, in a moment."""
    planned = next(
        one
        for path in paths.home().glob("scaling/*/plan.json")
        for one in json.loads(path.read_bytes())["runs"]
        if one["name"] == run.name
    )
    status = run.status()
    tries = run.path / "tries"
    tries.write_text(str(int(tries.read_text() or 0) + 1 if tries.exists() else 1))
    status.state, status.process, status.session = "running", ProcessIdentity.current(), os.getsid(0)
    status.started = status.started or time.time()
    status.write(run.status_path)
    if run.name in os.environ.get("FAIL", "").split(","):
        status.state, status.message, status.ended = "failed", "no such file", time.time()
        status.error = {"title": "Data", "message": "no such file", "where": "", "hint": ""}
        status.write(run.status_path)
        return
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    if run.name in os.environ.get("SLOW", "").split(","):
        status.step = 1
        status.write(run.status_path)
        deadline = time.monotonic() + 30
        while not stopped and not (run.path.parent / "go").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        if stopped:
            status.state = "stopped"
            status.write(run.status_path)
            return
    parameters, tokens = planned["parameters"], planned["tokens"]
    status.state, status.ended, status.step = "finished", time.time(), planned["steps"]
    status.num_parameters, status.num_tokens, status.epoch = parameters, tokens, tokens / 1e9
    status.loss = status.eval_loss = E + 60.0 / parameters**0.35 + 200.0 / tokens**0.38
    run.final_path.mkdir(exist_ok=True)
    with run.metrics_path.open("a") as file:
        for share in (0.25, 0.5, 0.75, 1.0):
            loss = E + (status.eval_loss - E) / share**0.5
            file.write(
                json.dumps({"step": round(share * status.step), "time": 1.0, "eval_loss": loss}) + "\n"
            )
    status.write(run.status_path)


def main(kind: str, path: str, jobs: str = "1") -> int:
    if kind == "run":
        work(Run(Path(path)))
        return 0
    from workbench.scaling import queue
    from workbench.store import launch

    with (
        mock.patch.object(
            launch, "command", lambda run, *_: [sys.executable, __file__, "run", str(run.path)]
        ),
        mock.patch.object(queue, "POLL_SECONDS", 0.02),
    ):
        return queue.main([path, "--jobs", jobs])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
