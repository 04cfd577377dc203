from __future__ import annotations

import asyncio
import os
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from decoders import tiny_decoder
from served import byte_tokenizer

from workbench.errors import ServerError
from workbench.inference import launch
from workbench.inference.client import Client
from workbench.inference.generation import Request, Sampling
from workbench.store import engines
from workbench.store.engines import EngineState


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random Llama with a tokenizer and a chat template."""
    path = tmp_path_factory.mktemp("model") / "small"
    tokenizer = byte_tokenizer()
    tokenizer.save_pretrained(path)
    tiny_decoder("llama", vocab_size=len(tokenizer)).save_pretrained(path)
    return path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def state_of(name: str) -> EngineState:
    state = engines.read(name)
    assert state is not None
    return state


async def ask(state: EngineState) -> str:
    async with Client(launch.server_of(state)) as client:
        model = await client.model()
        request = Request(({"role": "user", "content": "hi"},), sampling=Sampling(max_tokens=5, seed=1))
        return (await model.generate(request)).text


@pytest.mark.slow
def test_an_engine_is_started_shared_killed_and_started_again(folder: Path) -> None:
    messages: list[str] = []
    started = launch.start(str(folder))
    assert launch.find_or_start(str(folder))[0].name == started.name
    try:
        ready = launch.wait_until_ready(started.name, progress=lambda state: messages.append(state.message))
        mode = Path(ready.socket).stat().st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
        assert stat.S_IMODE(Path(ready.socket).parent.stat().st_mode) == 0o700
        assert any("loading" in message for message in messages)
        assert [state.name for state in launch.running()] == [ready.name]
        first = asyncio.run(ask(ready))
        assert ready.process is not None
        os.kill(ready.process.pid, signal.SIGKILL)
        until(lambda: state_of(ready.name).seen_state() == "lost")
        with pytest.raises(ServerError, match="cannot be reached"):
            asyncio.run(ask(ready))
        assert launch.running() == []
        again, _ = launch.find_or_start(str(folder))
        assert again.name != ready.name
        assert asyncio.run(ask(launch.wait_until_ready(again.name))) == first
        launch.stop(again.name)
        assert state_of(again.name).seen_state() == "ended"
        assert not Path(again.socket).exists()
    finally:
        for state in launch.running():
            launch.stop(state.name, seconds=0)


@pytest.mark.slow
def test_an_engine_that_nobody_asks_ends_by_itself(folder: Path) -> None:
    state = launch.start(str(folder), ["--max-length", "64"], idle_minutes=0.02)
    ready = launch.wait_until_ready(state.name)
    until(lambda: state_of(ready.name).seen_state() == "ended")
    assert "nobody asked" in state_of(ready.name).message
    assert launch.error_of(state_of(ready.name)).message == "the engine has ended"


@pytest.mark.slow
def test_what_cannot_be_loaded_is_said_in_the_engines_words(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    state = launch.start(str(tmp_path / "empty"))
    with pytest.raises(ServerError, match="holds no model") as failed:
        launch.wait_until_ready(state.name)
    assert str(tmp_path / "empty") in failed.value.where
    assert state_of(state.name).seen_state() == "failed"


def test_a_process_that_dies_without_a_word_is_told_with_its_last_ones() -> None:
    state = EngineState("gone", "model", state="loading", process=None, created=0.0)
    state.write()
    state.log_path.write_text("one\nRuntimeError: out of luck\n")
    with pytest.raises(ServerError, match="without a word") as failed:
        launch.wait_until_ready("gone")
    assert failed.value.where.endswith("RuntimeError: out of luck")
    # Nobody ever said whose process it is, so that only its age tells that it is dead.
    os.utime(state.folder / "state.json", (0.0, 0.0))
    assert launch.running() == [] and engines.read("gone") is None
    with pytest.raises(ServerError, match="folder is gone"):
        launch.wait_until_ready("gone")


def test_a_folder_of_sockets_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    folder = engines.socket_dir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    with pytest.raises(ServerError, match="not yours alone"):
        engines.socket_dir()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(ServerError, match="not yours alone"):
        engines.socket_dir()
