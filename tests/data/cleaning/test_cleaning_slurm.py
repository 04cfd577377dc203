"""Slurm by tools that only write down what they are asked: jobs, their ids, waiting and cancelling."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.data.cleaning.conftest import make_cleaning, prose, run_cleaning, write_lines
from workbench.data.cleaning import slurm
from workbench.data.cleaning.plan import make_plan
from workbench.data.cleaning.slurm import JOBS, ClusterError, run_slurm
from workbench.recipe.cleaning.recipe import ExecutorSection


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the tools were called with. Jobs are numbered from 17 on; two times the queue knows one."""
    path, folder = tmp_path / "said", tmp_path / "bin"
    folder.mkdir()
    path.touch()
    tools = {
        "sbatch": f'cat "$(eval echo \\${{$#}})" >> {path}\necho job $((16 + $(grep -c ^sbatch {path})))\n',
        "squeue": f'[ $(grep -c "^squeue.* $3$" {path}) -gt 2 ] || echo RUNNING\n',
        "scancel": "",
    }
    for name, body in tools.items():
        tool = folder / name
        tool.write_text(f'#!/bin/sh\necho {name} "$@" >> {path}\n{body}')
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return path


SECTION = ExecutorSection(kind="slurm", partition="cpu", poll_seconds=0.001)


def calls(said: Path) -> list[str]:
    return [
        line for line in said.read_text().splitlines() if line.startswith(("sbatch", "squeue", "scancel"))
    ]


def test_slurm_gets_an_array_job(tmp_path: Path, said: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": prose(random.Random(n))} for n in range(6)])
    cleaning = make_cleaning(
        tmp_path / "c",
        "text",
        f"data.sources=[{path}]",
        "executor=slurm",
        "executor.partition=cpu",
        "executor.workers=5",
        "executor.mem_per_cpu_gb=3",
        "executor.poll_seconds=0.01",
        "executor.shard_megabytes=0.001",
    )
    with pytest.raises(ClusterError, match="did not end well"):
        run_cleaning(cleaning)
    script = said.read_text()
    assert "#SBATCH --partition=cpu" in script and "#SBATCH --mem-per-cpu=3G" in script
    assert "%5" in script and "launch_pickled_pipeline" in script
    tasks = len(make_plan(cleaning.recipe()).shards)
    assert f"#SBATCH --array=0-{tasks - 1}%5" in script
    # One job and no other behind it, which would wait for ever for the tasks that failed.
    assert sum(call.startswith("sbatch") for call in calls(said)) == 1


def test_jobs_of_a_driver_that_was_killed_are_waited_for(tmp_path: Path, said: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / JOBS).write_text("41\n42\n")
    run_slurm(SECTION, "read", [], 3, logs, lambda text: None)
    asked = calls(said)
    begun = next(number for number, call in enumerate(asked) if call.startswith("sbatch"))
    assert {"squeue -h -j 41", "squeue -h -j 42"} == set(asked[:begun])
    assert set(asked[begun + 1 :]) == {"squeue -h -j 17"}
    assert not (logs / JOBS).exists()


def test_what_is_done_meanwhile_is_not_submitted(tmp_path: Path, said: Path) -> None:
    logs = tmp_path / "logs"
    (logs / "completions").mkdir(parents=True)
    for rank in range(3):
        (logs / "completions" / f"{rank:05d}").touch()
    (logs / JOBS).write_text("41\n")
    run_slurm(SECTION, "read", [], 3, logs, lambda text: None)
    assert calls(said) == []


@pytest.mark.parametrize(
    ("answer", "queued"),
    [
        ("echo RUNNING", True),
        ("true", False),
        ("echo slurm_load_jobs error: Invalid job id specified >&2; exit 1", False),
        ("echo slurm_load_jobs error: Unable to contact slurm controller >&2; exit 1", True),
    ],
)
def test_a_queue_that_does_not_answer_has_not_forgotten_a_job(said: Path, answer: str, queued: bool) -> None:
    (said.parent / "bin" / "squeue").write_text(f"#!/bin/sh\n{answer}\n")
    assert slurm._is_queued("17") is queued


@pytest.mark.parametrize(
    "answer",
    ["Submitted batch job 17\n", "2 nodes down\nSubmitted batch job 17 on cluster c3\n", "17;c3", "17", ""],
)
def test_the_id_of_a_job_is_read_and_kept(tmp_path: Path, answer: str) -> None:
    jobs = tmp_path / JOBS
    if not answer:
        with pytest.raises(ClusterError, match="did not say the id"):
            slurm._noted(str(jobs), answer)
        return
    assert slurm._noted(str(jobs), answer) == "17" and jobs.read_text() == "17\n"


def test_a_stop_cancels_every_job(tmp_path: Path, said: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / JOBS).write_text("41\n42\n")

    def stop(text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_slurm(SECTION, "read", [], 3, logs, stop)
    assert calls(said) == ["scancel 41 42"]
    # Until the queue has forgotten them, nothing is submitted in their place.
    assert (logs / JOBS).read_text() == "41\n42\n"
