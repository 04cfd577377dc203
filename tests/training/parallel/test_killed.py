"""A rank that is killed: the others end at once, the run says which it was, and one process goes on with
it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
from tiny_run import MakeRun, curve

from workbench.recipe import dump
from workbench.store import launch
from workbench.store.ranks import read_ranks
from workbench.store.runs import Run

DEADLINE = 240.0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_rank_is_named_and_the_run_goes_on(make_run: MakeRun, work: Callable[[Run], int]) -> None:
    changes = {"training__save_steps": 5, "training__eval_steps": 500, "training__sample_prompts": []}
    several = make_run(**changes, training__max_steps=400, launch__num_processes=2, parallel__dp_shard=2)
    launch.start(several)
    until = time.monotonic() + DEADLINE
    while not several.checkpoints() or several.status().state != "running":
        assert several.status().is_active and time.monotonic() < until, several.log_path.read_text()
        time.sleep(0.05)
    os.kill(read_ranks(several.path)[1].place.pid, signal.SIGKILL)
    while "SIGKILL" not in several.status().message:
        assert time.monotonic() < until, several.log_path.read_text()
        time.sleep(0.05)
    status = several.status()
    assert status.state == "failed" and status.message.startswith("rank 1 on ")
    # One process goes on, to a step that is near.
    recipe = several.recipe()
    recipe.launch.num_processes = recipe.parallel.dp_shard = 1
    last = int(several.checkpoints()[-1].name.rpartition("-")[2])
    recipe.training.per_device_train_batch_size *= 2
    recipe.training.max_steps = last + 3
    several.recipe_path.write_text(dump(recipe))
    status.state = "stopped"
    status.write(several.status_path)
    assert work(several) == 0
    steps = [step for step, _ in curve(several, "loss")["loss"]]
    assert steps == list(range(1, last + 4))
