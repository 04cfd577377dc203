"""Runs made by hand, and a stand-in for the worker that does a run in a moment."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench.recipe import load
from workbench.store import launch
from workbench.store.runs import Run, create_run

FAKE = Path(__file__).with_name("fake_worker.py")


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No colours, a known size, and nothing of the developer's own session."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TMUX", "STY", "SSH_CONNECTION", "SSH_TTY", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "30")
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def where(tmp_path: Path) -> str:
    """The socket of what is served."""
    return str(tmp_path / "s.sock")


@pytest.fixture
def serve(where: str) -> Iterator[Callable[..., Any]]:
    """Serve a script, or one text, at `where`: a `ScriptedServer`."""
    # Most tests here need no server, which takes a while to import.
    from scripted_server import ScriptedServer, listening

    with contextlib.ExitStack() as stack:

        def begin(script: Any, **options: Any) -> ScriptedServer:
            server = ScriptedServer(script if callable(script) else lambda *_: str(script), **options)
            stack.enter_context(listening(server, Path(where)))
            return server

        yield begin


@pytest.fixture
def make_run() -> Callable[..., Run]:
    """A run folder in any state: `make_run("a", state="finished", loss=[5, 4], eval_at={2: 4.5})`."""

    def make(name: str, *overrides: str, loss: list[float] | None = None, **status: Any) -> Run:
        eval_loss = status.pop("eval_at", {})
        run = create_run(load("nano", [f"run.name={name}", *overrides]))
        value = run.status()
        for key, item in {"state": "finished", **status}.items():
            setattr(value, key, item)
        value.write(run.status_path)
        with run.metrics_path.open("w") as file:
            for step, number in enumerate(loss or [], 1):
                record = {"step": step, "time": 1e9 + step, "loss": number}
                if step in eval_loss:
                    record["eval_loss"] = eval_loss[step]
                file.write(json.dumps(record) + "\n")
        return run

    return make


@pytest.fixture
def fake_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Choose what the stand-in for the worker does; workers still alive at the end are ended."""
    mode = "finish"

    def command(run: Run, section: object) -> list[str]:
        return [sys.executable, str(FAKE), str(run.path), mode]

    def choose(name: str) -> None:
        nonlocal mode
        mode = name

    spawn = os.posix_spawn
    processes: list[int] = []

    def remember(*arguments: Any, **options: Any) -> int:
        processes.append(spawn(*arguments, **options))
        return processes[-1]

    monkeypatch.setattr(launch, "command", command)
    monkeypatch.setattr(os, "posix_spawn", remember)
    yield choose
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
