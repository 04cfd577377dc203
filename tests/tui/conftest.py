"""Runs made by hand in any state, and a way to wait for what the interface shows."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from real_terminal import Terminal
from textual.css.query import NoMatches
from textual.pilot import Pilot

from workbench.recipe import load
from workbench.store.process import ProcessIdentity
from workbench.store.runs import Run, create_run
from workbench.tui.app import WorkbenchApp
from workbench.tui.tabs.train import TrainTab

SMALL, LARGE = (80, 24), (200, 60)
MakeRun = Callable[..., Run]
Until = Callable[..., Awaitable[None]]


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of many colours, and nothing of the developer's own session."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TMUX", "STY", "VISUAL", "EDITOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


@pytest.fixture
def terminal(plain_terminal: None) -> Iterator[Callable[..., Terminal]]:
    """Open terminals that are closed at the end."""
    opened: list[Terminal] = []

    def make(columns: int = 80, rows: int = 24, **environment: str) -> Terminal:
        opened.append(Terminal(columns, rows, **environment))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def make_run() -> MakeRun:
    """`make_run("a", state="running", steps=50)`; what else is given goes into its status.

    A running one belongs to this very process, a lost one to a process that is gone.
    """
    made = 0

    def make(name: str, *overrides: str, steps: int = 0, **status: Any) -> Run:
        nonlocal made
        made += 1
        run = create_run(load("nano", [f"run.name={name}", *overrides]))
        state = status.pop("state", "finished")
        value = run.status()
        value.created, value.step, value.state = 1e9 + made, steps, state
        if state in ("running", "preparing", "stopping", "saving", "lost"):
            value.process = ProcessIdentity.current()
        if state == "lost":
            value.state = "running"
            value.process = replace(ProcessIdentity.current(), start=1.0)
        for key, item in status.items():
            setattr(value, key, item)
        value.write(run.status_path)
        write_metrics(run, 1, steps)
        return run

    return make


def write_metrics(run: Run, first: int, last: int) -> None:
    with run.metrics_path.open("a") as file:
        for step in range(first, last + 1):
            record = {"step": step, "time": 1e9 + 2 * step, "num_tokens": 100 * step, "loss": 5 / step}
            record |= {"learning_rate": 1e-3, "grad_norm": 1.0, "tokens_per_second": 50.0}
            if step % 5 == 0:
                record["eval_loss"] = 6 / step
            file.write(json.dumps(record) + "\n")


@pytest.fixture
def add_metrics() -> Callable[[Run, int, int], None]:
    """Append metrics for steps `first` to `last`."""
    return write_metrics


@pytest.fixture
def until() -> Until:
    """`await until(pilot, condition)`: go on as soon as it holds, fail with the screen if it never does."""

    async def wait(pilot: Pilot[None], condition: Callable[[], object], what: str = "") -> None:
        deadline = time.monotonic() + float(os.environ.get("TUI_TEST_SECONDS", "15"))
        while time.monotonic() < deadline:
            try:
                if condition():
                    return
            except (LookupError, NoMatches):
                pass
            await pilot.pause(0.01)
        raise AssertionError(f"never came true: {what or condition}\n{screen_text(pilot.app)}")

    return wait


def screen_text(app: Any) -> str:
    """What is on the screen, line by line."""
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text for strip in strips[:height])


@pytest.fixture
def text_of() -> Callable[[WorkbenchApp], str]:
    """The characters on the screen."""
    return screen_text


@pytest.fixture
def train_tab() -> Callable[[WorkbenchApp], TrainTab]:
    """The Train tab of an app."""

    def find(app: WorkbenchApp) -> TrainTab:
        return app.screen_stack[0].query_one(TrainTab)

    return find


@pytest.fixture(params=[SMALL, LARGE], ids=["80x24", "200x60"])
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    """The two sizes that everything must work at."""
    value: tuple[int, int] = request.param
    return value
