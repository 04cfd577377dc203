"""Which engines are handed out, and what is removed of dead ones; no engine is started here."""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from workbench.errors import ServerError
from workbench.inference import launch
from workbench.store import dead_engines, engines
from workbench.store.engines import EngineState
from workbench.store.process import ProcessIdentity

ALIVE = ProcessIdentity.current()
GONE = dataclasses.replace(ALIVE, start=-1.0)
ELSEWHERE = dataclasses.replace(ALIVE, host="another-host")
DAY = 86_400


@pytest.fixture(autouse=True)
def runtime(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of sockets of this test's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Listening sockets, closed at the end."""
    opened: list[socket.socket] = []
    yield opened
    for one in opened:
        one.close()


def engine(name: str, state: str = "ready", process: ProcessIdentity | None = ALIVE) -> EngineState:
    """The record of an engine for the model `m`, whose socket is bound, though nobody listens."""
    found = EngineState(name, "m", state=state, process=process)
    found.socket = str(engines.socket_dir() / f"{name}.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
        bound.bind(found.socket)
    found.write()
    return found


def listening(found: EngineState, sockets: list[socket.socket]) -> EngineState:
    Path(found.socket).unlink()
    sockets.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    sockets[-1].bind(found.socket)
    sockets[-1].listen(4)
    return found


def grow_old(name: str) -> None:
    path = engines.engines_dir() / name / "state.json"
    os.utime(path, (time.time() - 2 * DAY,) * 2)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of engines that were started, each a moment before its record is there."""
    names: list[str] = []

    def start(model: str, options: tuple[str, ...] = ()) -> EngineState:
        time.sleep(0.05)
        names.append(f"new-{len(names)}")
        state = EngineState(names[-1], model, options=list(options), process=ALIVE)
        state.write()
        return state

    monkeypatch.setattr(launch, "start", start)
    return names


def test_only_what_serves_or_will_is_handed_out(sockets: list[socket.socket], started: list[str]) -> None:
    engine("ending", "stopping")
    engine("done", "ended")
    engine("killed", "ready", GONE)
    engine("deaf")  # its process lives, and its socket is closed already: it ends
    assert [state.name for state in launch.running()] == ["deaf"]
    assert launch.find_or_start("m")[0].name == "new-0"
    serving = listening(engine("serving"), sockets)
    (engines.engines_dir() / "new-0" / "state.json").unlink()
    assert launch.find_or_start("m")[0].name == serving.name
    assert launch.find_or_start("m", ("--dtype", "float32"))[0].name == "new-1"
    assert started == ["new-0", "new-1"]


def test_one_that_was_told_to_go_is_no_error_and_not_lost() -> None:
    engine("ending", "stopping")
    with pytest.raises(ServerError, match="is ending"):
        launch.wait_until_ready("ending")
    engine("went", "stopping", GONE)
    with pytest.raises(ServerError, match="has ended"):
        launch.wait_until_ready("went")


def test_starters_at_once_get_one_engine(started: list[str]) -> None:
    together = threading.Barrier(6)

    def find(_: int) -> tuple[str, bool]:
        together.wait()
        state, is_new = launch.find_or_start("m")
        return state.name, is_new

    with ThreadPoolExecutor(6) as pool:
        found = sorted(pool.map(find, range(6)))
    # Only one of them may end it when it is interrupted.
    assert found == [("new-0", False)] * 5 + [("new-0", True)]
    assert started == ["new-0"]


def test_a_dead_engines_socket_goes_at_once_and_its_record_after_a_day() -> None:
    dead, ended = engine("dead", "ready", GONE), engine("ended", "ended", GONE)
    dead.created = ended.created = time.time() - 9 * DAY
    dead.write()
    launch.running()
    assert not Path(dead.socket).exists() and not Path(ended.socket).exists()
    kept = engines.read("dead")
    assert kept is not None and kept.state == "lost"  # and kept a day from when it was found dead
    for name in ("dead", "ended"):
        grow_old(name)
    launch.running()
    assert engines.every() == []


def test_what_may_live_stays() -> None:
    stay = [
        engine("alive"),
        engine("ending", "stopping"),
        engine("elsewhere", "ready", ELSEWHERE),
        engine("coming", "starting", None),
    ]
    for state in stay:
        grow_old(state.name)
    launch.running()
    for state in stay:
        assert Path(state.socket).exists() and engines.read(state.name) is not None, state.name


def test_nothing_but_the_engines_own_socket_is_removed(tmp_path: Path) -> None:
    dead = engine("dead", "ready", GONE)
    other = engine("other")
    dead.socket = other.socket
    dead.write()
    launch.running()
    assert Path(other.socket).exists()
    (tmp_path / "file.sock").write_text("mine")
    file = EngineState("file", "m", state="ready", process=GONE, socket=str(tmp_path / "file.sock"))
    file.write()
    grow_old("file")
    launch.running()
    assert (tmp_path / "file.sock").read_text() == "mine"


def test_another_users_record_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = engine("dead", "ready", GONE)
    grow_old("dead")
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    launch.running()
    assert Path(dead.socket).exists() and engines.read("dead") is not None


def test_while_another_cleans_or_starts_looking_does_not_wait() -> None:
    dead = engine("dead", "ready", GONE)
    with dead_engines.locked(wait=True) as held:
        assert held and launch.running() == []
    assert Path(dead.socket).exists()
    launch.running()
    assert not Path(dead.socket).exists()


def test_last_words_said_meanwhile_are_kept() -> None:
    stale = engine("failed", "loading", GONE)
    later = dataclasses.replace(stale, state="failed", message="no memory")
    later.write()
    dead_engines.clean([stale])
    kept = engines.read("failed")
    assert kept is not None and (kept.state, kept.message) == ("failed", "no memory")


def test_an_engine_whose_model_was_written_anew_is_not_handed_out(
    tmp_path: Path, sockets: list[socket.socket], started: list[str]
) -> None:
    model, adapter = tmp_path / "model", tmp_path / "adapter"
    for folder in (model, adapter):
        folder.mkdir()
        (folder / "weights.safetensors").write_text("1")
    time.sleep(0.02)  # file systems stamp with the time of their last tick
    old = engine("old")
    old.model, old.options, old.created = str(model), ["--adapter", str(adapter)], time.time()
    listening(old, sockets).write()
    assert launch.find_or_start(str(model), old.options)[0].name == "old"
    time.sleep(0.02)
    replaced = tmp_path / "new"
    replaced.write_text("2")
    os.utime(replaced, (0, 0))  # a copy may keep the times of its original
    replaced.rename(adapter / "weights.safetensors")
    assert launch.find_or_start(str(model), old.options)[0].name == started[0]
