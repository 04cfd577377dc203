"""Real workers, killed at random moments and gone on with, against one that never stopped.

`WORKBENCH_KILLS=24 pytest tests/training/test_resume.py` is the long form.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_run import MakeRun, curve

from workbench.store import launch
from workbench.store.runs import Run
from workbench.store.status import Status
from workbench.training.checkpoint import TEMPORARY

KILLS = int(os.environ.get("WORKBENCH_KILLS", "4"))
DEADLINE = 180.0


def settings(steps: int) -> dict[str, Any]:
    """Two hundred rows, sixteen a step: every thirteenth step begins another epoch."""
    return {
        "training__max_steps": steps,
        "training__per_device_train_batch_size": 16,
        "training__save_steps": 3,
        "training__eval_steps": 20,
        "training__logging_steps": 1,
        "training__sample_prompts": [],
        "training__save_total_limit": 2,
    }


def finish(run: Run) -> Status:
    launch.start(run)
    assert launch.wait(run, DEADLINE) == "finished", run.log_path.read_text()
    return run.status()


def wait_for_step(run: Run, step: int) -> bool:
    """Wait until the worker has logged a step; False when it ended first."""
    while run.status().is_active:
        if run.metrics_path.exists() and f'"step":{step},'.encode() in run.metrics_path.read_bytes():
            return True
        time.sleep(0.002)
    return False


def kill_while_saving(run: Run, pid: int) -> bool:
    """Kill at the sight of a half-written checkpoint; False when the run ended first."""
    while run.status().is_active:
        if any(True for _ in run.path.glob(f"{TEMPORARY}*")):
            os.kill(pid, signal.SIGKILL)
            return True
    return False


def worker_of(run: Run) -> int:
    """The process id of the worker, once it is in its loop."""
    while (status := run.status()).state != "running":
        assert status.seen_state() in ("starting", "preparing"), run.log_path.read_text()
        time.sleep(0.01)
    assert status.process is not None
    return status.process.pid


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_again_and_again_the_curve_is_the_same(make_run: MakeRun) -> None:
    steps = 30 * max(KILLS, 4)
    whole, run = make_run(**settings(steps)), make_run(**settings(steps))
    finish(whole)
    dice = random.Random(KILLS)
    kills = saving = 0
    past_first_epoch = False
    while kills < KILLS:
        launch.start(run)
        pid = worker_of(run)
        if kills % 2:
            killed = kill_while_saving(run, pid)
            saving += killed
        else:
            # At least eight steps on, so that four kills pass the thirteen steps of an epoch.
            begun = int(run.checkpoints()[-1].name.rpartition("-")[2]) if run.checkpoints() else 0
            killed = wait_for_step(run, begun + dice.randint(8, 24))
            time.sleep(dice.uniform(0.0, 0.05))
            os.kill(pid, signal.SIGKILL)
        assert killed, f"the run of {steps} steps ended after {kills} kills"
        kills += 1
        epochs = curve(run, "epoch")["epoch"] if run.metrics_path.exists() else []
        past_first_epoch = past_first_epoch or any(epoch > 1 for _, epoch in epochs)
        assert launch.wait(run, DEADLINE) == "lost"
    status = finish(run)
    assert saving == KILLS // 2 and status.epoch > 2 and past_first_epoch
    assert curve(run) == curve(whole)
    final, expected = (r.final_path / "model.safetensors" for r in (run, whole))
    assert final.read_bytes() == expected.read_bytes()


@pytest.mark.slow
def test_two_processes_give_the_curve_of_one(make_run: MakeRun, tmp_path: Path) -> None:
    # Unpacked: the two processes' rows have unequal numbers of targets.
    common = {"training__max_steps": 20, "training__eval_steps": 10, "data__packing": False}
    one = make_run(**common, training__per_device_train_batch_size=8)
    two = make_run(**common, training__per_device_train_batch_size=4, launch__num_processes=2)
    finish(one)
    assert finish(two).num_processes == 2
    ours, theirs = curve(two), curve(one)
    for name in ("loss", "grad_norm", "eval_loss"):
        assert [step for step, _ in ours[name]] == [step for step, _ in theirs[name]]
        assert [v for _, v in ours[name]] == pytest.approx([v for _, v in theirs[name]], rel=2e-4)
    assert ours["num_tokens"] == theirs["num_tokens"]
    # And one process takes over what two began.
    assert two.checkpoints()


@pytest.mark.slow
def test_a_worker_of_two_processes_stops_and_resumes(make_run: MakeRun) -> None:
    changes = {**settings(40), "training__per_device_train_batch_size": 2, "launch__num_processes": 2}
    whole, run = make_run(**changes), make_run(**changes)
    finish(whole)
    launch.start(run)
    worker_of(run)
    assert wait_for_step(run, 5)
    launch.request_stop(run)
    assert launch.wait(run, DEADLINE) == "stopped", run.log_path.read_text()
    finish(run)
    assert curve(run) == curve(whole)
