"""Starting an engine in a process of its own, waiting until it serves, ending it. No torch."""

from __future__ import annotations

import os
import re
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from workbench import paths
from workbench.errors import ServerError, storage_error
from workbench.inference.servers import Server
from workbench.store import engines
from workbench.store.engines import EngineState

POLL_SECONDS = 0.1
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
    write_end = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        pid = os.posix_spawn(
            command[0],
            command,
            {**os.environ, "PYTHONUNBUFFERED": "1"},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(state.log_path), write_end, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
    except OSError as error:
        raise storage_error(error, state.log_path) from None
    # So that no zombie stays behind in an interface that is open for days.
    threading.Thread(target=os.waitpid, args=(pid, 0), name=f"waits for {name}", daemon=True).start()
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
    if state.state == "ended":
        return ServerError("the engine has ended", where=state.model, hint="start it again")
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
    """Engines that serve, or will; traces of others that are older than a day are removed."""
    found = []
    for state in engines.every():
        if state.seen_state() in engines.ACTIVE:
            found.append(state)
        elif time.time() - state.created > 86_400:
            engines.forget(state.name)
    return found


def find_or_start(model: str, options: Sequence[str] = ()) -> EngineState:
    """The engine that serves a model already with the same options, or a new one."""
    for state in running():
        if state.model == model and state.options == list(options):
            return state
    return start(model, options)


def stop(name: str, *, seconds: float = 10.0) -> None:
    """End an engine: by request, and by force if it does not heed it."""
    state = engines.read(name)
    process = state.process if state is not None else None
    if process is None or process.liveness() != "alive":
        return
    os.kill(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while process.liveness() == "alive" and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    if process.liveness() == "alive":
        os.kill(process.pid, signal.SIGKILL)
