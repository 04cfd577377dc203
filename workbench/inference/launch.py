"""Starting an engine in a process of its own, waiting until it serves, ending it. No torch."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from workbench import paths
from workbench.errors import ServerError, StorageError
from workbench.inference.servers import Server
from workbench.store import dead_engines, engines
from workbench.store.engines import EngineState
from workbench.store.spawning import spawn

POLL_SECONDS = 0.1
KNOCK_SECONDS = 1.0
"""How long an engine may take to accept a connection; one that is merely busy takes longer, and lives."""
Progress = Callable[[EngineState], None]


def start(model: str, options: Sequence[str] = (), *, idle_minutes: float | None = 30.0) -> EngineState:
    """Start an engine for a model, detached; it ends by itself after so long without a request.

    `options` are further ones of `workbench serve`. Raises `StorageError` and `ServerError`.
    """
    word = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(model).name).strip("-.") or "model"
    name = f"{word[:40]}-{secrets.token_hex(3)}"
    state = EngineState(name, model, options=list(options), socket=str(engines.socket_dir() / f"{name}.sock"))
    paths.ensure_dir(state.folder)
    state.write()
    command = [sys.executable, "-m", "workbench.inference", model, "--engine", name]
    command += ["--socket", state.socket, *options]
    if idle_minutes is not None:
        command += ["--idle-minutes", str(idle_minutes)]
    spawn(command, state.log_path, waits_for=name, mode=0o600)
    return state


def wait_until_ready(
    name: str, *, progress: Progress | None = None, should_stop: Callable[[], bool] | None = None
) -> EngineState:
    """Wait until an engine serves; `progress` hears what it is at.

    Raises `ServerError` with the engine's own error, or its last words, when it ended instead.
    """
    while True:
        state = engines.read(name)
        if state is None:
            raise ServerError("the engine's folder is gone", where=str(engines.engines_dir() / name))
        seen = state.seen_state()
        if seen == "ready":
            return state
        if seen not in engines.ACTIVE:
            raise error_of(state)
        if progress is not None:
            progress(state)
        if should_stop is not None and should_stop():
            stop(name)
            raise ServerError("the engine was stopped while it was starting", where=state.model)
        time.sleep(POLL_SECONDS)


def error_of(state: EngineState) -> ServerError:
    """Why an engine is not there any more."""
    if state.error:
        error = ServerError(state.error["message"], where=state.error["where"], hint=state.error["hint"])
        error.title = state.error["title"]
        return error
    seen = state.seen_state()
    if seen in ("ended", engines.STOPPING):
        word = "has ended" if seen == "ended" else "is ending"
        return ServerError(f"the engine {word}", where=state.model, hint="start it again")
    return ServerError(
        "the engine's process ended without a word",
        where="\n".join(last_words(state)) or str(state.log_path),
        hint="was there enough memory?",
    )


def last_words(state: EngineState, lines: int = 5) -> list[str]:
    """The end of an engine's log."""
    try:
        text = state.log_path.read_bytes()[-20_000:].decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-lines:]


def server_of(state: EngineState) -> Server:
    """The engine as a server to talk to."""
    return Server(state.name, socket=Path(state.socket))


def running() -> list[EngineState]:
    """Engines that serve, or will, the newest first; what dead ones left is removed on the way."""
    if not engines.engines_dir().is_dir():
        return []
    # Looking is possible where writing is not: nothing is cleaned then.
    with contextlib.suppress(StorageError), dead_engines.locked(wait=False) as held:
        if held:
            dead_engines.clean(engines.every())
    return _active()


def find_or_start(model: str, options: Sequence[str] = ()) -> tuple[EngineState, bool]:
    """The engine that serves a model already with the same options, or a new one, and whether it is new; two
    that ask at once get the same, which is new to one of them. Raises `StorageError` and `ServerError`."""
    with dead_engines.locked(wait=True):
        dead_engines.clean(engines.every())
        for state in _active():
            same = state.model == model and state.options == list(options)
            if same and not _is_outdated(state) and _answers(state):
                return state, False
        return start(model, options), True


def _active() -> list[EngineState]:
    return [state for state in engines.every() if state.seen_state() in engines.ACTIVE]


def _is_outdated(state: EngineState) -> bool:
    """Whether files of its model or adapters have been written since it was started: a run that went on,
    a model that was fetched anew. It goes on for those who talk to it, and ends by itself."""
    words = [state.model, *state.options, *(option.partition("=")[2] for option in state.options)]
    places = [place for place in map(Path, words) if place.is_absolute()]
    try:
        files = [file for place in places for file in (place.iterdir() if place.is_dir() else [place])]
        return any(file.stat().st_ctime > state.created for file in files)
    except OSError:
        # What is gone is not newer.
        return False


def _answers(state: EngineState) -> bool:
    """Whether an engine takes connections, if it should by now: one that ends closes its socket first, and
    says that it has ended only when the answers under way are written."""
    if state.state != "ready" or not state.socket:
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.settimeout(KNOCK_SECONDS)
        try:
            knock.connect(state.socket)
        except TimeoutError:
            return True
        except OSError:
            return False
        return True


def stop(name: str, *, seconds: float = 10.0) -> None:
    """End an engine: by request, and by force if it does not heed it."""
    state = engines.read(name)
    process = state.process if state is not None else None
    if state is None or process is None or process.liveness() != "alive":
        return
    state.state = engines.STOPPING
    state.write()
    os.kill(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while process.liveness() == "alive" and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    if process.liveness() == "alive":
        os.kill(process.pid, signal.SIGKILL)
