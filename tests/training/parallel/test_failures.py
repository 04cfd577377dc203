"""Which failure of several is the one that the others follow from."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from workbench.errors import TrainingError
from workbench.recipe import load
from workbench.store.runs import Run, create_run
from workbench.training import failures, launcher
from workbench.training.failures import Failure, first, killed


def lost(rank: int, seconds: float) -> Failure:
    return Failure(rank, "another process is gone", is_lost=True, time=seconds)


def test_a_signal_goes_before_those_who_miss_the_process() -> None:
    found = first([lost(0, 1.0), lost(1, 1.1)], [killed(2, 9, 4711, 2.0)])
    assert found is not None and found.rank == 2
    assert "process 4711" in found.words and "was ended by SIGKILL" in found.words


def test_an_error_goes_before_signals_that_followed_it() -> None:
    found = first([Failure(1, "out of memory", time=1.0), lost(0, 1.1)], [killed(2, 9, 1, 0.5)])
    assert found is not None and (found.rank, found.message) == (1, "out of memory")


def test_who_was_told_to_end_is_not_the_first() -> None:
    found = first([lost(0, 2.0)], [killed(1, 15, 1, 1.0)])
    assert found is not None and found.rank == 0


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("[…/pair.cc:561] Connection closed by peer [127.0.0.1]:2746"), True),
        (RuntimeError("NCCL error: remote process exited"), True),
        (RuntimeError("NCCL error in: init.cc, ncclInvalidUsage: Duplicate GPU detected"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("connection closed by peer"), False),
    ],
)
def test_errors_that_only_say_that_another_is_gone(error: Exception, expected: bool) -> None:
    assert failures.is_lost(error) is expected


@pytest.fixture
def run() -> Run:
    """A run whose main process has failed for want of another."""
    run = create_run(load("nano", ["launch.num_processes=2"]), "test")
    status = run.status()
    status.state = "failed"
    status.write(run.status_path)
    return run


def test_the_status_names_the_process_and_how_to_go_on(run: Run) -> None:
    began = time.time()
    failures.leave_word(run, 0, failures.lost(run), is_lost=True)
    launcher.explain(run, [killed(1, 9, 4711, began + 1)], began - 1)
    status = run.status()
    assert status.state == "failed" and status.error is not None
    assert status.message.startswith("rank 1 on ") and "was ended by SIGKILL" in status.message
    assert f"workbench runs resume {run.name}" in status.error["hint"]
    assert run.path.joinpath("ranks", "failure-00001.json").exists()


def test_what_the_main_process_said_of_itself_stays(run: Run) -> None:
    failures.leave_word(run, 0, TrainingError("the loss became nan"), is_lost=False)
    before = run.status_path.read_bytes()
    launcher.explain(run, [killed(1, 9, 1, time.time())], time.time() - 5)
    assert run.status_path.read_bytes() == before


def test_a_run_that_goes_on_already_is_left_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "PATIENCE_SECONDS", 0.1)
    status = run.status()
    status.state = "starting"
    status.write(run.status_path)
    launcher.explain(run, [killed(1, 9, 1, time.time())], time.time() - 5)
    assert run.status().state == "starting"


def test_old_words_do_not_count(run: Run, tmp_path: Path) -> None:
    failures.write(run, Failure(1, "long ago", time=time.time() - 1000))
    assert failures.words_of(run, time.time() - 10) == []
