"""The queue: small runs first, taken up again after kill -9, failures tried once more, stopping."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scaling_studies import make_study

from workbench import paths
from workbench.errors import DataError, RunError
from workbench.scaling.plan import Plan
from workbench.scaling.queue import progress, request_stop, start_queue
from workbench.scaling.results import results_of
from workbench.scaling.study_files import fit_study
from workbench.store.process import ProcessIdentity
from workbench.store.runs import Run
from workbench.store.scaling_studies import (
    QueueState,
    Study,
    delete_study,
    find_study,
    list_studies,
    new_study,
)
from workbench.store.status import Status

Begin = Callable[..., "subprocess.Popen[bytes]"]
FEW: dict[str, Any] = {"budget": {"flops": 6e12}, "isoflop": {"levels": 2, "sizes": 3, "spacing": 4}}


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.02)


def states(study: Study) -> list[str]:
    return [str(entry["state"]) for entry in study.queue().runs.values()]


def run_names(study: Study) -> list[str]:
    return [str(run["name"]) for run in study.plan()["runs"]]


def tries(name: str) -> int:
    return int((paths.runs_dir() / name / "tries").read_text())


def test_a_killed_queue_is_taken_up_again_and_what_ran_went_on(begin_queue: Begin) -> None:
    study = make_study(**FEW)
    names = run_names(study)
    slow = names[2]
    queue = begin_queue(study, 1, SLOW=slow)
    running = Run(paths.runs_dir() / slow)
    until(lambda: running.status().step == 1)
    queue.send_signal(signal.SIGKILL)
    queue.wait()
    assert study.queue().seen_state() == "lost"
    assert running.status().is_active
    again = begin_queue(study)
    until(lambda: study.queue().is_active and study.queue().process.pid == again.pid)  # type: ignore[union-attr]
    # It waits for the one that went on, instead of beginning it anew.
    (paths.runs_dir() / "go").touch()
    again.wait(30)
    assert study.queue().seen_state() == "finished"
    assert states(study) == ["done"] * 6
    assert [tries(name) for name in names] == [1] * 6
    created = [Run(paths.runs_dir() / name).status().created for name in names]
    assert created == sorted(created), "small ones first"
    # A queue of what is done has nothing to do.
    begin_queue(study).wait(30)
    assert [tries(name) for name in names] == [1] * 6


def test_what_is_left_goes_by_what_the_others_took(home: Path) -> None:
    study = make_study(**FEW)
    plan = Plan.from_dict(study.plan())
    state = QueueState("running", process=ProcessIdentity.current(), jobs=2)
    works = [run.seconds or run.flops for run in plan.runs]
    # Twice as long as planned, but for one that lay for a day.
    for number, run in enumerate(plan.runs[:4]):
        status = Status("finished", started=1000.0, ended=1000.0 + 2 * works[number] + 86400 * (number == 0))
        if number == 3:
            status = Status("training", step=run.steps // 2, started=1000.0)
        state.runs[run.name] = {"state": "running" if number == 3 else "done", "tries": 1, "error": ""}
        folder = paths.runs_dir() / run.name
        folder.mkdir(parents=True)
        status.write(folder / "status.json")
    state.write(study.queue_path)
    half = plan.runs[3].steps // 2 / plan.runs[3].steps
    expected = 2 * (works[3] * (1 - half) + sum(works[4:])) / 2
    assert progress(study)["seconds_left"] == pytest.approx(expected)
    QueueState("stopped", jobs=2, runs=state.runs).write(study.queue_path)
    assert progress(study)["seconds_left"] is None


def test_a_killed_run_is_resumed_and_a_failing_one_tried_once_more(begin_queue: Begin) -> None:
    study = make_study(**FEW)
    names = run_names(study)
    queue = begin_queue(study, 2, SLOW=names[0], FAIL=names[1])
    killed = Run(paths.runs_dir() / names[0])
    until(lambda: killed.status().step == 1)
    process = killed.status().process
    assert process is not None
    (paths.runs_dir() / "go").touch()
    os.kill(process.pid, signal.SIGKILL)
    queue.wait(30)
    state = study.queue()
    assert state.runs[names[1]] == {"state": "failed", "tries": 2, "error": "no such file"}
    assert [entry["state"] for entry in state.runs.values()].count("done") == 5
    assert tries(names[1]) == 2
    assert progress(study)["counts"] == {"waiting": 0, "running": 0, "done": 5, "failed": 1, "stopped": 0}
    # Started again by a person, what failed is tried again.
    begin_queue(study).wait(30)
    assert states(study) == ["done"] * 6


def test_a_stopped_queue_stops_its_runs_and_goes_on_later(begin_queue: Begin) -> None:
    study = make_study(**FEW)
    names = run_names(study)
    queue = begin_queue(study, 1, SLOW=names[0])
    run = Run(paths.runs_dir() / names[0])
    until(lambda: run.status().step == 1)
    with pytest.raises(RunError, match="running already"):
        start_queue(study)
    with pytest.raises(RunError, match="is running"):
        delete_study(study)
    # A second process at the same study leaves it alone.
    assert begin_queue(study).wait(30) == 1
    request_stop(study)
    queue.wait(30)
    assert run.status().state == "stopped" and study.queue().seen_state() == "stopped"
    assert states(study) == ["waiting"] * 6
    study.stop_path.unlink()
    begin_queue(study, 3).wait(30)
    assert states(study) == ["done"] * 6


def test_results_are_fitted_and_kept(begin_queue: Begin) -> None:
    study = make_study(**FEW)
    begin_queue(study, 2).wait(60)
    results = results_of(study, "total")
    assert len(results.points) == len(study.plan()["runs"]) and not results.left_out
    found = fit_study(study, resamples=20)
    # What the stand-in planted.
    planted = {"E": 1.5, "A": 60.0, "B": 200.0, "alpha": 0.35, "beta": 0.38}
    assert found["coefficients"] == pytest.approx(planted, rel=1e-4)
    assert study.fit() is not None and fit_study(study, anew=False)["made"] == found["made"]
    with pytest.raises(DataError, match="there are 5"):
        fit_study(study, leave_out=[run_names(study)[0]])


def test_a_run_of_the_same_name_that_is_not_of_the_study_is_left_alone(begin_queue: Begin) -> None:
    from workbench.recipe import load
    from workbench.store.runs import create_run

    study = make_study(**FEW)
    name = run_names(study)[0]
    create_run(load("nano", [f"run.name={name}"]))
    begin_queue(study).wait(30)
    assert "not of this study" in study.queue().runs[name]["error"]
    assert states(study).count("done") == 5


def test_studies_on_disk(home: Path) -> None:
    assert list_studies() == []
    study = make_study("one")
    assert [found.name for found in list_studies()] == ["one"]
    with pytest.raises(RunError) as caught:
        find_study("onne")
    assert caught.value.hint == "did you mean one?"
    with pytest.raises(RunError):
        find_study("../one")
    with pytest.raises(Exception, match="no name for a study"):
        new_study("../x")
    QueueState(runs={"a": {"state": "done"}}).write(study.queue_path)
    with pytest.raises(RunError, match="has begun"):
        new_study("one")
    study.plan_path.write_text("{")
    with pytest.raises(RunError, match=r"plan\.json"):
        study.plan()
    study.queue_path.write_text("{")
    assert "cannot be read" in study.queue().message
    # It may have begun: it is not planned over.
    with pytest.raises(RunError, match="cannot be told"):
        new_study("one")
    study.fit_path.write_text("{")
    with pytest.raises(RunError) as caught:
        study.fit()
    assert caught.value.hint == "fit it again: workbench scale fit one"
    delete_study(study)
    assert list_studies() == []
