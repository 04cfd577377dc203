"""`workbench launch`: the batch script, what it does on signals, submitting, command lines for machines."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_slurm import install
from tiny_run import mapping, text_of

from workbench import recipe as recipes
from workbench.cli import main
from workbench.store import slurm
from workbench.store.ranks import read_ranks
from workbench.store.runs import Run, create_run, find_run

# Stands in for Python on a node: `-m workbench.training.launcher RUN …`.
FAKE_PYTHON = """#!/bin/bash
run="$3"
echo "node $SLURM_NODEID of $MASTER_ADDR:$MASTER_PORT: $*"
[ "$SETUP_RAN" = yes ] || echo "no setup"
[ "$FAKE_MODE" = fail ] && exit 3
[ "$FAKE_MODE" = finish ] && exit 0
[ "$FAKE_MODE" = die ] && kill -KILL $$
while [ ! -e "$run/stop-requested" ]; do sleep 0.02; done
sed -i 's/"state": "[a-z]*"/"state": "stopped"/' "$run/status.json"
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with Slurm's commands, first in PATH, and a home of its own."""
    folder = install(tmp_path / "slurm bin")
    python = folder / "python"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home of me"))
    return folder


def written(*arguments: str) -> Path:
    """Write the script of a new run of `nano` and return its path."""
    assert main(["launch", "slurm", "nano", "--name", "far", *arguments]) == 0
    return find_run("far").path / slurm.SCRIPT


def job(script: Path, **environment: str) -> subprocess.Popen[bytes]:
    """The script as Slurm would run it on the first node."""
    return subprocess.Popen(
        ["bash", str(script)],
        env={**os.environ, "SLURM_JOB_ID": "4242", "SLURM_JOB_NODELIST": "n[1-2]", **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def calls(cluster: Path) -> str:
    return (cluster / "calls").read_text()


def test_the_script_asks_for_what_it_was_told(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--nodes 2 --time 1-12:00:00 --partition gpu --account me --memory 200G"
    path = written(*options.split(), "--container", "team/torch:25", "--setup", "module load 'cuda 12'")
    assert capsys.readouterr().out.strip() == str(path)
    text = path.read_text()
    assert subprocess.run(["bash", "-n", str(path)], check=True).returncode == 0
    for line in (
        "--nodes=2",
        "--ntasks-per-node=1",
        "--gpus-per-node=8",
        "--time=1-12:00:00",
        "--partition=gpu",
        "--account=me",
        "--mem=200G",
        "--requeue",
        "--signal=B:USR1@300",
        f'--output="{path.parent}/slurm-%j.log"',
    ):
        assert f"\n#SBATCH {line}\n" in text
    assert "module load 'cuda 12'" in text and "--container-image=team/torch:25" in text
    launch = find_run("far").recipe().launch
    assert (launch.num_processes, launch.num_machines, launch.main_process_ip) == (8, 2, "slurm")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--time", "soon"], "no time"),
        (["--time", "5"], "no time to train"),
        (["--partition", "gpu\n#SBATCH --uid=0"], "no name"),
        (["--setup", "a\nb"], "line end"),
        (["--gpus-per-node", "2", "--processes-per-node", "4"], "do not share"),
        (["parallel.tp=3"], "tp 3"),
    ],
)
def test_what_slurm_would_misread_is_refused_before_a_run_is_made(
    cluster: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(["launch", "slurm", "nano", "--name", "far", "--nodes", "2", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (cluster.parent / "home of me" / "runs" / "far").exists()


def test_submitting_and_asking(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written("--submit", "--json", "--nodes", "2")
    said = json.loads(capsys.readouterr().out)
    assert said["job_id"] == "4242" and f"sbatch --parsable {said['script']}" in calls(cluster)
    run = find_run("far")
    assert run.status().state == "queued" and "4242" in run.status().message
    assert slurm.words_of(run) == "Slurm 4242"
    (cluster / "queue").write_text("PENDING|Priority|\n")
    assert slurm.words_of(run) == "Slurm 4242, pending (Priority)"
    (cluster / "queue").write_text("RUNNING|None|n[1-2]\n")
    assert slurm.words_of(run) == "Slurm 4242, running on n[1-2]"
    assert main(["runs", "show", "far"]) == 0
    assert "Slurm 4242, running on n[1-2]" in capsys.readouterr().out
    assert main(["runs", "stop", "far"]) == 1
    assert "scancel 4242" in capsys.readouterr().err
    assert main(["runs", "resume", "far"]) == 1
    assert "workbench launch slurm far --nodes 2 --submit" in capsys.readouterr().err
    assert main(["launch", "slurm", "far", "--submit"]) == 1
    assert "Slurm job 4242 of “far” is running" in capsys.readouterr().err


def test_a_refusal_is_told(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cluster / "refuse").touch()
    assert main(["launch", "slurm", "nano", "--name", "far", "--submit"]) == 1
    assert "invalid partition specified" in capsys.readouterr().err
    assert slurm.job_of(find_run("far")) is None


def test_where_there_is_no_slurm(
    cluster: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(cluster.parent))
    assert main(["launch", "slurm", "nano", "--submit"]) == 1
    assert "sbatch is not on this machine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("requeue", "told", "state"),
    [
        (True, signal.SIGUSR1, "RUNNING"),
        (True, signal.SIGTERM, "PREEMPTED"),
        (True, signal.SIGTERM, "CANCELLED"),
        (False, signal.SIGUSR1, "RUNNING"),
    ],
)
def test_a_job_that_is_told_checkpoints_and_is_queued_again(
    cluster: Path, requeue: bool, told: signal.Signals, state: str
) -> None:
    (cluster / "job").write_text(f"JobId=4242 JobName=workbench-far\n   JobState={state} Reason=None\n")
    options = ["--nodes", "2", "--gpus-per-node", "4", "--python", str(cluster / "python")]
    script = written(*options, "--setup", "export SETUP_RAN=yes", *([] if requeue else ["--no-requeue"]))
    run = find_run("far")
    run.stop_path.touch()  # what an earlier job was told
    process = job(script)
    deadline = time.monotonic() + 20
    while not run.log_path.exists() or run.log_path.read_text().count("node ") < 2:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    assert not run.stop_path.exists()
    process.send_signal(told)
    assert process.wait(20) == 0
    assert ("scontrol requeue 4242" in calls(cluster)) == (requeue and state != "CANCELLED")
    log = run.log_path.read_text()
    assert "no setup" not in log
    for node in "01":
        (line,) = re.findall(rf"node {node} of (.*)", log)
        assert f"-m workbench.training.launcher {run.path} --machine-rank {node} " in line
        assert "--main-process-ip 127.0.0.1 --main-process-port 24242" in line


@pytest.mark.parametrize(("mode", "code"), [("finish", 0), ("fail", 3), ("die", 137)])
def test_a_job_ends_as_its_worker_does(cluster: Path, mode: str, code: int) -> None:
    script = written("--python", str(cluster / "python"))
    assert job(script, FAKE_MODE=mode).wait(20) == code
    assert "requeue" not in calls(cluster)


@pytest.mark.slow
def test_two_nodes_train_over_gloo(cluster: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(text_of(1, 6000))
    recipe = tmp_path / "tiny.yaml"
    changes: dict[str, Any] = {
        "training__max_steps": 4,
        "training__eval_steps": 4,
        "training__sample_prompts": [],
        "run__name": "far",
    }
    recipe.write_text(yaml.safe_dump(mapping(corpus, **changes)))
    assert main(["launch", "slurm", str(recipe), "--nodes", "2", "--gpus-per-node", "0"]) == 0
    run = find_run("far")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = job(run.path / slurm.SCRIPT, WORKBENCH_MASTER_PORT=str(port), OMP_NUM_THREADS="1")
    assert process.wait(300) == 0, run.log_path.read_text()
    status = run.status()
    assert (status.state, status.step, status.num_processes) == ("finished", 4, 2)
    assert run.final_path.is_dir()
    assert [(rank.place.world_size, rank.step) for rank in read_ranks(run.path)] == [(2, 4), (2, 4)]


def test_a_line_for_each_machine(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["launch", "torchrun", "nano", "--hosts", "box1,box2", "--gpus-per-node", "2", "--json"]
    assert main([*arguments, "--name", "far"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [line["host"] for line in said["machines"]] == ["box1", "box2"]
    for number, line in enumerate(said["machines"]):
        words = shlex.split(line["command"])
        assert words[0] == f"WORKBENCH_HOME={cluster.parent / 'home of me'}" and sys.executable in words
        assert words[words.index("--machine-rank") + 1] == str(number)
        assert words[words.index("--main-process-ip") + 1] == "box1"
    assert find_run("far").recipe().launch.world_size == 4
    for hosts in ("box1,box1", "box1,-x", "a b"):
        assert main(["launch", "torchrun", "nano", "--hosts", hosts]) == 2


def test_a_run_that_stands_still_goes_on_on_other_machines(
    cluster: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run: Run = create_run(
        recipes.load("nano", ["run.name=far", "parallel.dp_shard=4", "launch.num_processes=4"])
    )
    assert main(["launch", "slurm", "far", "--nodes", "2", "--gpus-per-node", "4"]) == 0
    recipe = run.recipe()
    assert recipe.launch.world_size == 8
    assert recipe.parallel.degrees(8).dp_replicate == 2
    assert main(["launch", "slurm", "far", "--nodes", "1", "--gpus-per-node", "3"]) == 2
    assert "multiple of 4 processes" in capsys.readouterr().err
    assert main(["launch", "slurm", "far", "training.seed=1"]) == 2
    status = run.status()
    status.state = "finished"
    status.write(run.status_path)
    assert main(["launch", "slurm", "far"]) == 1
