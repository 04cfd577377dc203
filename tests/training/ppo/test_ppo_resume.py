"""SIGKILL in the midst of a rollout, of the optimisation and of a checkpoint: the run comes out the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import ppo_workers
import pytest
from tiny_run import curve

from workbench.store.metrics import read_metrics
from workbench.store.runs import Run

TIMES = ("time", "seconds/", "memory/", "rollout/tokens_per_second")


def rollouts_of(run: Run) -> list[dict[str, Any]]:
    """The answers that were kept, without the time of each."""
    lines = [orjson.loads(line) for line in run.rollouts_path.read_bytes().splitlines()]
    return [{key: value for key, value in line.items() if key != "time"} for line in lines]


def curves(run: Run) -> dict[str, Any]:
    """All series of a run but those that the clock and the machine say."""
    names = read_metrics(run.metrics_path).names
    return curve(run, *(name for name in names if not name.startswith(TIMES)))


@pytest.mark.timeout(300)
def test_killed_in_every_phase_rewards_and_losses_are_the_same(
    make_ppo_run: Callable[..., Run], setting: Path
) -> None:
    changes = {
        "ppo__reward_model_path": str(setting / "reward"),
        "ppo__kl_controller": "adaptive",
        "ppo__kl_target": 0.5,
        "ppo__kl_horizon": 50,
        "training__max_steps": 6,
        "training__logging_steps": 4,
        "training__load_best_model_at_end": True,
        "training__metric_for_best_model": "score",
    }
    whole, run = make_ppo_run(**changes), make_ppo_run(**changes)
    tasks = [
        str(whole.path),
        f"{run.path}:rollout:5",
        f"{run.path}:checkpoint:1",
        # In the fourth iteration, whose second is in a checkpoint by then.
        f"{run.path}:learning:27",
        str(run.path),
    ]
    done = subprocess.run(
        [sys.executable, ppo_workers.__file__, *tasks], capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, (
        done.stderr + run.log_path.read_text() if run.log_path.exists() else done.stderr
    )
    assert curves(run) == curves(whole)
    assert rollouts_of(run) == rollouts_of(whole)
    assert [step for step, _ in curves(run)["objective/scores"]] == [4, 6]
    assert {"loss/value_avg", "eval_score", "objective/kl_coef"} <= curves(run).keys()
    final, expected = (one.final_path / "model.safetensors" for one in (run, whole))
    assert final.read_bytes() == expected.read_bytes()
    critics = [one.path / "checkpoint-6" / "critic" / "critic.safetensors" for one in (run, whole)]
    assert critics[0].read_bytes() == critics[1].read_bytes()
