"""Models found, opened and missed: engines that load, fail or vanish, servers that are away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import ServerError
from workbench.inference import launch
from workbench.inference.servers import Server
from workbench.store import engines
from workbench.store.engines import EngineState
from workbench.store.process import ProcessIdentity
from workbench.tui.playground.backstage import Backstage
from workbench.tui.playground.catalog import Catalog, Listed
from workbench.tui.playground.setup import ModelChoice

LOCAL = ModelChoice("local", "org/smol")


class Engines:
    """In the place of processes: `start` writes a state as an engine would, and remembers that it did."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.started: list[EngineState] = []
        self.stopped: list[str] = []
        patch.setattr(launch, "start", self.start)
        patch.setattr(launch, "stop", self.stopped.append)
        patch.setattr(launch, "_answers", lambda state: True)
        patch.setattr(launch, "POLL_SECONDS", 0.01)
        patch.setattr(Catalog, "_client", lambda catalog, server: FakeClient(server))

    def start(self, model: str, options: Sequence[str] = ()) -> EngineState:
        state = EngineState(f"engine-{len(self.started)}", model, options=list(options), socket="/s")
        state.process = ProcessIdentity.current()
        self.started.append(state)
        self.say("loading", f"loading {model}")
        return state

    def say(self, state: str, message: str = "", **values: Any) -> None:
        latest = self.started[-1]
        latest.state, latest.message = state, message
        for name, value in values.items():
            setattr(latest, name, value)
        latest.write()


async def opened(catalog: Catalog, choice: ModelChoice) -> Any:
    """What opening gives: here the name of the server, and of the model that was asked for."""
    return await catalog.open(choice, lambda words: None)


class FakeClient:
    """Says where it was connected to."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def model(self, name: str | None = None) -> Any:
        return self.server.name, name

    async def models(self) -> list[Any]:
        raise ServerError("nobody answers", where=self.server.where)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch, home: Path) -> Engines:
    return Engines(monkeypatch)


async def test_an_engine_is_started_once_and_found_again(processes: Engines) -> None:
    catalog, words = Catalog(), list[str]()
    both = [asyncio.ensure_future(catalog.open(LOCAL, words.append)) for _ in range(2)]
    while not words:
        await asyncio.sleep(0.01)
    processes.say("loading", "loading weights of org/smol")
    while "loading weights of smol" not in words:
        await asyncio.sleep(0.01)
    processes.say("ready")
    found: list[Any] = await asyncio.gather(*both)
    assert found == [("engine-0", None)] * 2
    assert await opened(catalog, LOCAL) == ("engine-0", None)
    assert len(processes.started) == 1 and words[0] == "loading smol"
    assert catalog.trouble(LOCAL) is None


async def test_an_engine_that_fails_tells_its_own_error(processes: Engines) -> None:
    catalog = Catalog()
    opening = asyncio.ensure_future(opened(catalog, LOCAL))
    while not processes.started:
        await asyncio.sleep(0.01)
    error = {"title": "Model", "message": "no such file", "where": "org/smol", "hint": "look again"}
    processes.say("failed", error=error)
    with pytest.raises(ServerError, match="no such file") as raised:
        await opening
    assert raised.value.title == "Model" and raised.value.hint == "look again"


async def test_giving_up_ends_an_engine_that_was_started_for_it(processes: Engines) -> None:
    catalog = Catalog()
    opening = asyncio.ensure_future(opened(catalog, LOCAL))
    while not processes.started:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    while not processes.stopped:
        await asyncio.sleep(0.01)
    assert processes.stopped == ["engine-0"]


async def test_leaving_ends_no_engine_nor_does_giving_up_somebody_elses(processes: Engines) -> None:
    catalog = Catalog()
    earlier = processes.start(LOCAL.model)
    earlier.created -= 60
    earlier.write()
    for leaving in (False, True):
        catalog.closing = leaving
        opening = asyncio.ensure_future(opened(catalog, LOCAL))
        await asyncio.sleep(0.1)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
    assert not processes.stopped and len(processes.started) == 1


async def test_an_engine_whose_process_is_gone_is_missed_and_started_anew(
    processes: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.tui.playground.catalog.WATCH_SECONDS", 0.01)
    catalog, told = Catalog(), list[tuple[ModelChoice, str]]()
    opening = asyncio.ensure_future(opened(catalog, LOCAL))
    while not processes.started:
        await asyncio.sleep(0.01)
    processes.say("ready")
    await opening
    watching = asyncio.ensure_future(
        catalog.watch(lambda choice, error: told.append((choice, error.message)))
    )
    await asyncio.sleep(0.05)
    assert not told
    processes.say("ready", process=replace(ProcessIdentity.current(), start=1.0))
    while not told:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    watching.cancel()
    assert told == [(LOCAL, "the engine's process ended without a word")]
    opening = asyncio.ensure_future(opened(catalog, LOCAL))
    while len(processes.started) < 2:
        await asyncio.sleep(0.01)
    processes.say("ready")
    assert await opening == ("engine-1", None)


async def test_servers_that_are_away_are_a_line_and_not_an_error(processes: Engines, home: Path) -> None:
    engines.engines_dir().mkdir(parents=True)
    (home / "servers.yaml").write_text("servers:\n  - {name: box, url: http://box/v1}\n")
    pulled = home / "models" / "smol"
    pulled.mkdir(parents=True)
    (pulled / "config.json").write_text("{}")
    found: list[Listed] = []
    await Catalog().listing(found.extend)
    assert [(one.choice.label, one.problem) for one in found] == [("smol", ""), ("box", "nobody answers")]
    with pytest.raises(ServerError, match="no server called"):
        await Catalog().open(ModelChoice("server", "m", "gone"), lambda words: None)
    assert await opened(Catalog(), ModelChoice("server", "m", "box")) == ("box", "m")


async def test_a_running_engine_is_listed_once_and_first(processes: Engines, home: Path) -> None:
    pulled = home / "models" / "smol"
    pulled.mkdir(parents=True)
    (pulled / "config.json").write_text("{}")
    processes.start(str(pulled))
    processes.say("ready", "serving smol")
    (listed,) = await Catalog().local()
    assert listed.group == "running here" and listed.choice.model == str(pulled)


def test_the_backstage_ends_what_goes_on(processes: Engines) -> None:
    backstage = Backstage()
    ended: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("yes")

    async def at_once() -> int:
        return 3

    assert backstage.run(at_once()).result(5) == 3
    backstage.run(forever())
    backstage.run(at_once()).result(5)
    backstage.close()
    assert ended == ["yes"]
    backstage.call(ended.append, "never")
    backstage.close()
    assert ended == ["yes"]
