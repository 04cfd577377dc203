"""Stopping, resuming and deleting runs from the table: asked first where it matters, said afterwards."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from workbench.errors import RunError, storage_error
from workbench.store import launch
from workbench.store.runs import Run
from workbench.tui.app import WorkbenchApp
from workbench.tui.widgets.confirm import Confirm


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What would have been done to workers, instead of doing it."""
    done: list[tuple[str, str]] = []
    for name in ("start", "request_stop", "kill"):
        monkeypatch.setattr(launch, name, lambda run, name=name: done.append((name, run.name)))
    return done


async def test_stop_asks_first(make_run: Any, until: Any, text_of: Any, train_tab: Any, calls: Any) -> None:
    make_run("busy", state="running", steps=5)
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: train_tab(app).selected == "busy")
        assert "S stop" in text_of(app).splitlines()[-1] and "R resume" not in text_of(app)
        await pilot.press("S")
        await until(pilot, lambda: "Stop busy?" in text_of(app))
        await pilot.press("n")
        assert not isinstance(app.screen, Confirm) and calls == []
        await pilot.press("S", "y")
        await until(pilot, lambda: calls == [("request_stop", "busy")])
        await until(pilot, lambda: "busy stops after a checkpoint" in text_of(app))
        # Nothing to resume while it runs, and it cannot be deleted.
        await pilot.press("R", "D")
        await until(pilot, lambda: "S stops it first" in text_of(app))
        assert calls == [("request_stop", "busy")]


async def test_a_second_stop_ends_it(
    make_run: Any, until: Any, text_of: Any, train_tab: Any, calls: Any
) -> None:
    make_run("slow", state="stopping", steps=5)
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: train_tab(app).selected == "slow")
        await pilot.press("S")
        await until(pilot, lambda: "End slow at once?" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: calls == [("kill", "slow")])


@pytest.mark.parametrize("state", ["stopped", "failed", "lost", "queued"])
async def test_resume(
    make_run: Any, until: Any, text_of: Any, train_tab: Any, calls: Any, state: str
) -> None:
    make_run("again", state=state, steps=5)
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: train_tab(app).selected == "again")
        assert "R resume" in text_of(app).splitlines()[-1]
        await pilot.press("R")
        await until(pilot, lambda: calls == [("start", "again")])


async def test_delete(make_run: Any, until: Any, text_of: Any, train_tab: Any) -> None:
    kept, gone = make_run("kept", steps=3), make_run("gone", steps=3)
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: train_tab(app).selected == "gone")
        await pilot.press("D")
        await until(pilot, lambda: "Delete gone?" in text_of(app))
        assert str(gone.path)[:40] in text_of(app)
        await pilot.press("escape")
        assert gone.path.exists()
        await pilot.press("D", "y")
        await until(pilot, lambda: not gone.path.exists() and train_tab(app).selected == "kept")
        assert kept.path.exists()


@pytest.mark.parametrize(
    "error",
    [
        RunError("it is taken", where="/there", hint="wait"),
        storage_error(OSError(errno.ENOSPC, "full"), "/full/disk"),
        OSError(errno.EROFS, "read-only", "/read/only"),
    ],
)
async def test_what_goes_wrong_is_a_notification(
    make_run: Any, until: Any, text_of: Any, train_tab: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(run: Run) -> None:
        raise error

    monkeypatch.setattr(launch, "start", refuse)
    make_run("again", state="stopped")
    app = WorkbenchApp()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: train_tab(app).selected == "again")
        await pilot.press("R")
        await until(pilot, lambda: "where: /" in text_of(app) and "try:" in text_of(app))
        assert "Traceback" not in text_of(app)
        assert app.return_code is None
