"""A local model for a command: its engine is found or started, waited for, and started again when it died."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from scripted_server import ScriptedServer, listening

from workbench.cli import models_of
from workbench.errors import ServerError
from workbench.inference import launch
from workbench.inference.generation import Request
from workbench.store.engines import EngineState
from workbench.store.process import ProcessIdentity

QUESTION = Request(messages=({"role": "user", "content": "who?"},))


class Engines:
    """Stand-ins for engines: each is served from this process, and says which it is."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.started: list[EngineState] = []
        self.begins_in = "ready"
        self.stopped: list[str] = []

    def start(self, model: str, options: Sequence[str] = (), **_: object) -> EngineState:
        number = len(self.started)
        path = self.folder / f"{number}.sock"
        server = ScriptedServer(lambda body, index: f"engine {number}", models=("tiny",))
        self.stack.enter_context(listening(server, path))
        state = EngineState(f"tiny-{number}", model, list(options), self.begins_in, socket=str(path))
        state.process = ProcessIdentity.current()
        state.write()
        self.started.append(state)
        return state

    def end(self, number: int) -> None:
        self.started[number].state = "ended"
        self.started[number].write()


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engines]:
    with ExitStack() as stack:
        found = Engines(tmp_path, stack)
        monkeypatch.setattr(launch, "start", found.start)
        monkeypatch.setattr(launch, "stop", lambda name: found.stopped.append(name))
        yield found


FOUND = models_of.Found(models_of.HERE, "/models/tiny")


async def test_a_running_engine_is_used_by_all(engines: Engines) -> None:
    async with models_of.opened(FOUND) as first, models_of.opened(FOUND) as second:
        assert first.name == second.name == "tiny"
        assert (await first.generate(QUESTION)).text == (await second.generate(QUESTION)).text == "engine 0"
    assert len(engines.started) == 1 and engines.stopped == []


async def test_an_engine_that_died_is_started_again_once(engines: Engines) -> None:
    async with models_of.opened(FOUND) as model:
        assert (await model.generate(QUESTION)).text == "engine 0"
        engines.end(0)
        answers = await asyncio.gather(*(model.generate(QUESTION) for _ in range(4)))
        assert {answer.text for answer in answers} == {"engine 1"}
    assert len(engines.started) == 2


async def test_an_engine_that_cannot_start_says_why(engines: Engines) -> None:
    engines.begins_in = "failed"
    with pytest.raises(ServerError):
        async with models_of.opened(FOUND):
            pass


async def test_who_is_interrupted_while_it_starts_ends_their_own_engine_only(engines: Engines) -> None:
    engines.begins_in = "loading"
    for started_by_us in (True, False):
        opening = asyncio.ensure_future(models_of.opened(FOUND).__aenter__())
        await asyncio.sleep(0.3)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert engines.stopped == ["tiny-0"], started_by_us
    assert len(engines.started) == 1
