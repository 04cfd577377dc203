"""What is measured of a run's long context now: recorded by the command, seen and ended by others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import ModelError, RunError, StorageError
from workbench.store import context_jobs
from workbench.store.process import ProcessIdentity

FAKE = """
import sys, time
from pathlib import Path
from workbench.errors import ModelError
from workbench.store.context_jobs import recorded
try:
    with recorded(Path(sys.argv[1]), "eval") as told:
        told("reading: 1 of 2")
        time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""


def until(condition: Any) -> Any:
    deadline = time.monotonic() + 60
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found
    return found


def test_a_command_tells_of_itself_until_it_is_done(tmp_path: Path) -> None:
    with context_jobs.recorded(None, "eval") as told:
        told("nobody asked")
    with context_jobs.recorded(tmp_path, "cost") as told:
        told("measuring: 1 of 7")
        job = context_jobs.read(tmp_path)
        assert job is not None and job.is_running and job.process == ProcessIdentity.current()
        assert context_jobs.words(tmp_path, job) == "context cost is running: measuring: 1 of 7"
        with pytest.raises(RunError, match="context cost is running already"):
            context_jobs.start(tmp_path, "eval", [])
    assert context_jobs.read(tmp_path) is None
    with pytest.raises(ModelError), context_jobs.recorded(tmp_path, "eval"):
        raise ModelError("no positions to stretch", where="small", hint="another one")
    job = context_jobs.read(tmp_path)
    assert job is not None and not job.is_running
    assert "failed: no positions to stretch; small; another one" in context_jobs.words(tmp_path, job)
    context_jobs.forget(tmp_path)
    assert context_jobs.read(tmp_path) is None
    (tmp_path / "context" / "job.json").write_text("[]")
    assert context_jobs.read(tmp_path) is None


def test_one_that_runs_is_seen_and_ended(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", FAKE, str(tmp_path)])
    try:
        job = until(lambda: (found := context_jobs.read(tmp_path)) and found.progress and found)
        assert job.is_running and job.process.pid == process.pid
        # Another command at the same time leaves its record alone.
        with context_jobs.recorded(tmp_path, "cost") as told:
            told("something else")
        assert context_jobs.read(tmp_path) == job
        context_jobs.stop(tmp_path)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait()
    assert context_jobs.read(tmp_path) is None
    with pytest.raises(RunError, match="nothing is measured"):
        context_jobs.stop(tmp_path)


def test_a_disk_that_refuses_the_record_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(run: Path, job: context_jobs.Job) -> None:
        raise StorageError("no space left on device")

    monkeypatch.setattr(context_jobs, "_write", full)
    with pytest.raises(ModelError), context_jobs.recorded(tmp_path, "eval") as told:
        told("reading: 1 of 2")
        raise ModelError("no positions to stretch")


def test_what_nobody_expected_is_told_and_not_the_log_of_another_command(tmp_path: Path) -> None:
    log = tmp_path / "context" / "job.log"
    log.parent.mkdir()
    log.write_text("said last week\n")
    os.utime(log, (1e9, 1e9))
    with pytest.raises(KeyError), context_jobs.recorded(tmp_path, "eval"):
        raise KeyError("lengths")
    job = context_jobs.read(tmp_path)
    assert job is not None and context_jobs.words(tmp_path, job) == "context eval failed: KeyError: 'lengths'"
    killed = replace(job, error="", process=replace(job.process, start=0.0))
    assert context_jobs.words(tmp_path, killed) == "context eval failed: its process is gone"
    log.write_text("x" * 9000 + "\nsaid by this one\n")
    assert context_jobs.words(tmp_path, killed).endswith("said by this one")
    assert len(context_jobs.words(tmp_path, killed)) < 5000


def test_what_another_machine_measures_is_ended_there(tmp_path: Path) -> None:
    far = context_jobs.Job("cost", 1.0, replace(ProcessIdentity.current(), host="elsewhere"))
    (tmp_path / "context").mkdir()
    context_jobs._write(tmp_path, far)
    with pytest.raises(RunError, match="was started on elsewhere") as caught:
        context_jobs.stop(tmp_path)
    assert "job.json" in caught.value.hint


def test_what_is_refused_before_it_begins_says_why(tmp_path: Path) -> None:
    context_jobs.start(tmp_path, "eval", ["--no-such-option"])
    job = until(lambda: (found := context_jobs.read(tmp_path)) and not found.is_running and found)
    assert "--no-such-option" in context_jobs.words(tmp_path, job)
