"""Run folders and their status."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from workbench import recipe
from workbench.errors import RunError, StorageError
from workbench.store import launch
from workbench.store.process import ProcessIdentity
from workbench.store.runs import Run, create_run, delete_run, find_run, list_runs
from workbench.store.status import Status


def new_run(*overrides: str, stem: str = "nano") -> Run:
    return create_run(recipe.load("nano", list(overrides)), stem)


def set_status(run: Run, **changes: Any) -> None:
    dataclasses.replace(run.status(), **changes).write(run.status_path)


def test_a_new_run_holds_its_complete_recipe() -> None:
    run = new_run("training.seed=5")
    assert (run.name, run.status().seen_state()) == ("nano-1", "queued")
    assert run.recipe().training.seed == 5 and run.recipe().run.name == "nano-1"
    assert new_run().name == "nano-2"
    assert new_run("run.name=mine").name == "mine"
    assert {r.name for r in list_runs()} == {"nano-1", "nano-2", "mine"}


def test_a_taken_name_is_refused_with_a_way_out() -> None:
    new_run("run.name=mine")
    with pytest.raises(RunError, match="already") as caught:
        new_run("run.name=mine")
    assert "runs resume mine" in caught.value.hint


def test_runs_are_found_by_name_and_by_path_and_near_misses_are_suggested() -> None:
    run = new_run("run.name=shakespeare")
    assert find_run("shakespeare").path == find_run(str(run.path)).path == run.path
    with pytest.raises(RunError) as caught:
        find_run("shakespear")
    assert "did you mean shakespeare?" in caught.value.hint


def test_a_home_that_cannot_be_written_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(StorageError) as caught:
        new_run()
    assert "WORKBENCH_HOME" in caught.value.hint


def test_a_disk_that_fills_up_leaves_no_half_made_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="the disk is full"):
        new_run()
    assert list_runs() == []


def test_the_state_of_a_vanished_worker_is_lost() -> None:
    run = new_run()
    me = ProcessIdentity.current()
    set_status(run, state="running", process=me)
    assert run.status().seen_state() == "running"
    set_status(run, process=dataclasses.replace(me, start=1.0))
    assert run.status().seen_state() == "lost"
    set_status(run, state="finished")
    assert run.status().seen_state() == "finished"


def test_on_another_host_silence_decides() -> None:
    run = new_run()
    set_status(
        run, state="running", process=dataclasses.replace(ProcessIdentity.current(), host="far.example")
    )
    status = run.status()
    assert status.seen_state() == "running"
    status.updated = time.time() - 1000
    assert status.seen_state() == "lost"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"process": 3}', b"\xff", b'{"step": "three"}', b'{"state": 1, "error": "no"}'],
)
def test_a_damaged_status_reads_as_unknown(content: bytes) -> None:
    run = new_run()
    run.status_path.write_bytes(content)
    assert run.status().state == "unknown"


def test_a_status_of_a_newer_version_is_read() -> None:
    run = new_run()
    value = json.loads(run.status_path.read_bytes())
    run.status_path.write_text(json.dumps({**value, "invented_later": 1}))
    assert run.status().state == "queued"


def test_active_runs_are_neither_deleted_nor_started_again() -> None:
    run = new_run()
    set_status(run, state="running", process=ProcessIdentity.current())
    with pytest.raises(RunError, match="still running"):
        delete_run(run)
    with pytest.raises(RunError, match="running already"):
        launch.start(run)
    set_status(run, state="finished")
    with pytest.raises(RunError, match="finished"):
        launch.start(run)
    with pytest.raises(RunError, match="not running"):
        launch.request_stop(run)
    delete_run(run)
    assert not run.path.exists()


SLEEPER = """
import dataclasses, os, signal, sys
from pathlib import Path
from workbench.store.process import ProcessIdentity
from workbench.store.runs import Run
run = Run(Path(sys.argv[1]))
status = run.status()
signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit))
me = ProcessIdentity.current()
try:
    dataclasses.replace(status, state="running", process=me, session=os.getsid(0)).write(run.status_path)
    while True:
        signal.pause()
finally:
    dataclasses.replace(run.status(), state="stopped").write(run.status_path)
"""


@pytest.fixture
def sleeping_worker(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(launch, "command", lambda run, _: [sys.executable, "-c", SLEEPER, str(run.path)])
    run = new_run()
    launch.start(run)
    while run.status().state != "running":
        assert run.status().seen_state() != "lost"
    return run


def test_a_worker_has_its_own_session_and_stops_on_request(sleeping_worker: Run) -> None:
    process = sleeping_worker.status().process
    assert process is not None and os.getsid(process.pid) == process.pid != os.getsid(0)
    launch.request_stop(sleeping_worker)
    assert launch.wait(sleeping_worker, 20) == "stopped"
    deadline = time.monotonic() + 20
    while psutil.pid_exists(process.pid):
        assert time.monotonic() < deadline, "a zombie stays behind"


def test_a_killed_worker_is_lost(sleeping_worker: Run) -> None:
    launch.kill(sleeping_worker)
    assert launch.wait(sleeping_worker, 20) == "lost"
    with pytest.raises(RunError, match="no process"):
        launch.kill(sleeping_worker)


def test_several_processes_go_through_accelerate() -> None:
    line = launch.command(new_run(), recipe.load("nano", ["launch.num_processes=2"]).launch)
    assert line[1:3] == ["-m", "workbench.training.launcher"]


def test_each_of_several_machines_has_a_launcher() -> None:
    several = ["launch.num_machines=2", "launch.main_process_ip=box1"]
    line = launch.command(new_run(), recipe.load("nano", several).launch, machine_rank=1)
    assert line[1:3] == ["-m", "workbench.training.launcher"]
    assert line[-2:] == ["--machine-rank", "1"]


def test_checkpoints_are_listed_by_number(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for name in ("checkpoint-20", "checkpoint-3", "checkpoint-x", "checkpoint-100"):
        (tmp_path / name).mkdir()
    assert [path.name for path in run.checkpoints()] == ["checkpoint-3", "checkpoint-20", "checkpoint-100"]


def test_the_interface_side_never_imports_torch() -> None:
    code = "import sys, workbench.cli, workbench.recipe, workbench.store.runs, workbench.store.launch; "
    code += "import workbench.store.metrics; "
    code += "print([m for m in ('torch','transformers','accelerate','peft','datasets') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_a_worker_that_ends_while_its_status_is_read_is_not_called_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = new_run()
    gone = dataclasses.replace(ProcessIdentity.current(), start=1.0)
    set_status(run, state="finished", process=gone)
    last_word = run.status()
    answers = [dataclasses.replace(last_word, state="running"), last_word]
    monkeypatch.setattr(Status, "read", lambda path: answers.pop(0))
    assert run.status().seen_state() == "finished"
