"""The generator of a session: order, failures, resuming, lost servers, turns; against scripted servers."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from scripted_server import Refused, ScriptedServer, last_message, listening

from workbench.errors import ServerError, StorageError
from workbench.inference import launch
from workbench.inference.generation import Completion, Request, Response
from workbench.prompting.ranking import generator as generating
from workbench.prompting.ranking import opened
from workbench.prompting.ranking import report as reporting
from workbench.prompting.ranking import status as files
from workbench.prompting.ranking.__main__ import generate
from workbench.prompting.ranking.control import generation_status
from workbench.prompting.ranking.create import Plan, create
from workbench.prompting.ranking.failures import Failures, read_failures
from workbench.prompting.ranking.generator import Generator
from workbench.prompting.ranking.opened import OpenedModel
from workbench.prompting.ranking.report import Report
from workbench.prompting.ranking.sources import ModelSource
from workbench.store.engines import EngineState
from workbench.store.preferences.contents import Prompt, read_answers, read_items
from workbench.store.preferences.database import Database
from workbench.store.preferences.sessions import Session, counts
from workbench.store.process import ProcessIdentity

PROMPTS = tuple(Prompt(f"question {number}") for number in range(6))
MANY = tuple(Prompt(f"question {number}") for number in range(60))
"""More than a server can answer before it has ended."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience of hundredths of a second."""
    monkeypatch.setattr(generating, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(opened, "BACKOFF_SECONDS", (0.02, 0.05, 0.1, 0.2))


@pytest.fixture
def database(home: Path) -> Iterator[Database]:
    with Database() as made:
        yield made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScriptedServer]:
    """A server of two models, at `tmp_path / "s"`."""
    served = ScriptedServer(lambda body, index: f"{body['model']}: {last_message(body)} {index}", ("a", "b"))
    with listening(served, tmp_path / "s"):
        yield served


def session_of(
    database: Database, tmp_path: Path, prompts: Sequence[Prompt] = PROMPTS, name: str = "s"
) -> Session:
    """Two answers by each of two models to six questions."""
    sources = [ModelSource("place", model, str(tmp_path / "s")) for model in ("a", "b")]
    return create(database, Plan(name, sources, samples=2, seed=5), prompts)


async def run(database: Database, session: Session) -> Report:
    """Generate once, in this process."""
    files.folder_of(session.name).mkdir(parents=True, exist_ok=True)
    with Failures(files.failures_path(session.name)) as failures:
        report = Report(session, 0, 0, len(failures.keys))
        await Generator(database, session, failures, report).run()
    return report


def shown(database: Database, session: Session) -> list[list[str]]:
    """The answers of each item, as texts."""
    return [
        [str(answer.content) for answer in read_answers(database, item.answers).values()]
        for item in read_items(database, session.id)
    ]


async def test_all_answers_of_one_prompt_are_one_request_and_the_first_prompt_comes_first(
    database: Database, tmp_path: Path, server: ScriptedServer
) -> None:
    session = session_of(database, tmp_path)
    report = await run(database, session)
    assert [body["n"] for body in server.bodies] == [2] * 12
    assert [last_message(body) for body in server.bodies[:2]] == ["question 0"] * 2
    assert len({body["seed"] for body in server.bodies}) == 12
    assert all(body["temperature"] == 0.8 and body["max_tokens"] == 512 for body in server.bodies)
    first = shown(database, session)[0]
    assert sorted(first) == [f"{model}: question 0 {index}" for model in "ab" for index in (0, 1)]
    assert (counts(database, session).items, report.status.done) == (6, 24)
    # The same session anywhere asks with the same seeds.
    again = session_of(database, tmp_path, name="other")
    before = {(body["model"], last_message(body), body["seed"]) for body in server.bodies}
    server.bodies.clear()
    await run(database, again)
    assert {(body["model"], last_message(body), body["seed"]) for body in server.bodies} == before


async def test_a_prompt_that_one_model_refuses_is_ranked_without_it(
    database: Database, tmp_path: Path, server: ScriptedServer
) -> None:
    def script(body: dict[str, Any], index: int) -> str:
        if body["model"] == "b" and last_message(body) in ("question 1", "question 4"):
            raise Refused("the prompt is too long", 400)
        if last_message(body) == "question 5":
            raise Refused("not this one", 400)
        return f"{body['model']} {index}"

    server.script = script
    session = session_of(database, tmp_path)
    report = await run(database, session)
    assert sorted(map(len, shown(database, session))) == [2, 2, 4, 4, 4]
    assert (report.status.done, report.status.failures) == (16, 8)
    asked = len(server.bodies)
    assert asked == 12, "what is refused is not asked for again"
    report = await run(database, session)
    assert len(server.bodies) == asked and report.status.failures == 8


async def test_a_model_that_answers_nothing_ends_it_and_nothing_is_ranked_without_it(
    database: Database, tmp_path: Path, server: ScriptedServer
) -> None:
    def script(body: dict[str, Any], index: int) -> str:
        if body["model"] == "b":
            raise Refused("it is an encoder", 400)
        return "fine"

    server.script = script
    session = session_of(database, tmp_path)
    with pytest.raises(ServerError, match="b answered none of 6 prompts; the last time: it is an encoder"):
        await run(database, session)
    assert shown(database, session) == []


async def test_what_is_cancelled_goes_on_and_nothing_is_answered_twice(
    database: Database, tmp_path: Path, server: ScriptedServer
) -> None:
    session = session_of(database, tmp_path)
    server.seconds = 0.02
    work = asyncio.ensure_future(run(database, session))
    while not counts(database, session).answers:
        await asyncio.sleep(0.005)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    before = counts(database, session).answers
    assert 0 < before < 24
    server.seconds = 0.0
    server.bodies.clear()
    await run(database, session)
    assert sum(body["n"] for body in server.bodies) == 24 - before
    assert (counts(database, session).answers, counts(database, session).items) == (24, 6)


async def test_a_server_that_comes_back_is_waited_for(database: Database, tmp_path: Path) -> None:
    session = session_of(database, tmp_path, MANY)
    work = await lost_server(database, session, tmp_path)
    await asyncio.sleep(0.03)
    with listening(ScriptedServer(lambda body, index: "again", ("a", "b")), tmp_path / "s"):
        await work
    said = {text for item in shown(database, session) for text in item}
    assert said == {"fine", "again"} and counts(database, session).answers == 4 * len(MANY)


async def test_a_server_that_does_not_come_back_is_one_clear_error(
    database: Database, tmp_path: Path
) -> None:
    session = session_of(database, tmp_path, MANY)
    work = await lost_server(database, session, tmp_path)
    with pytest.raises(ServerError, match="the server of [ab] was lost, and did not come back in"):
        await work
    assert 0 < counts(database, session).answers < 4 * len(MANY)


async def lost_server(database: Database, session: Session, tmp_path: Path) -> asyncio.Future[Report]:
    """A generation whose server ended in the middle."""
    dying = ScriptedServer(lambda body, index: "fine", ("a", "b"), seconds=0.02)
    with ExitStack() as first:
        first.enter_context(listening(dying, tmp_path / "s"))
        work = asyncio.ensure_future(run(database, session))
        while not counts(database, session).answers:
            await asyncio.sleep(0.005)
        await asyncio.to_thread(first.close)
    (tmp_path / "s").unlink()
    return work


async def test_a_passing_trouble_is_tried_again_and_a_wrong_name_is_not(
    database: Database, tmp_path: Path, server: ScriptedServer
) -> None:
    busy = iter(range(3))

    def script(body: dict[str, Any], index: int) -> str:
        if body["model"] == "b" and next(busy, None) is not None:
            raise Refused("too many requests", 429)
        return "fine"

    server.script = script
    report = await run(database, session_of(database, tmp_path))
    assert (report.status.done, report.status.failures) == (24, 0)

    def unknown(body: dict[str, Any], index: int) -> str:
        raise Refused("no such model", 404)

    server.script, server.bodies = unknown, []
    other = session_of(database, tmp_path, name="other")
    with pytest.raises(ServerError, match="no such model"):
        await run(database, other)
    assert len(server.bodies) <= 2


async def test_a_server_that_stays_busy_ends_it_and_no_prompt_is_blamed(
    database: Database, tmp_path: Path, server: ScriptedServer
) -> None:
    def script(body: dict[str, Any], index: int) -> str:
        if body["model"] == "b" and last_message(body) != "question 0":
            raise Refused("too many requests", 429)
        return "fine"

    server.script = script
    session = session_of(database, tmp_path)
    with pytest.raises(ServerError, match="b failed 4 times in a row; the last time: too many requests"):
        await run(database, session)
    assert read_failures(files.failures_path(session.name)) == []
    server.script = lambda body, index: "fine"
    assert (await run(database, session)).status.failures == 0
    assert counts(database, session).items == 6


class Continuing:
    """A model without a chat template: it refuses conversations as an engine does."""

    name = "base"

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def generate(self, request: Request, on_delta: object = None) -> Response:
        self.requests.append(request)
        if request.prompt is None:
            refusal = RuntimeError()
            refusal.status_code = 400  # type: ignore[attr-defined]
            try:
                raise refusal
            except RuntimeError:
                raise ServerError("this model has no chat template") from None
        return Response([Completion(index, "on and on", "length") for index in range(request.n)])


async def test_a_model_without_a_template_continues_texts_and_what_is_cut_is_marked(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Continuing()

    async def ready(self: OpenedModel) -> Continuing:
        return model

    monkeypatch.setattr(OpenedModel, "ready", ready)
    session = session_of(database, tmp_path)
    await run(database, session)
    asked = [request.prompt for request in model.requests if request.prompt is not None]
    assert sorted(asked) == sorted(str(prompt.content) for prompt in PROMPTS for _ in range(2))
    item = read_items(database, session.id)[0]
    assert {one.finish_reason for one in read_answers(database, item.answers).values()} == {"length"}
    spoken = session_of(database, tmp_path, [Prompt([{"role": "user", "content": "hi"}])], "spoken")
    with pytest.raises(ServerError, match="it continues plain texts, and this is a conversation"):
        await run(database, spoken)


async def test_models_take_turns_where_there_is_no_memory_for_both(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: list[str] = []
    most = 0
    with ExitStack() as stack:
        number = iter(range(100))

        def start(model: str, options: Sequence[str] = (), **_: object) -> EngineState:
            nonlocal most
            name = f"engine-{next(number)}"
            path = tmp_path / f"{name}.sock"
            stack.enter_context(listening(ScriptedServer(lambda body, index: model), path))
            state = EngineState(name, model, list(options), "ready", socket=str(path))
            state.process = ProcessIdentity.current()
            state.write()
            running.append(name)
            most = max(most, len(running))
            return state

        def stop(name: str, **_: object) -> None:
            running.remove(name)
            from workbench.store import engines

            state = engines.read(name)
            assert state is not None
            state.state = "ended"
            state.write()

        monkeypatch.setattr(launch, "start", start)
        monkeypatch.setattr(launch, "stop", stop)
        monkeypatch.setattr(generating, "fit_together", lambda sources: False)
        monkeypatch.setattr(generating, "FIRST_TURN", 2)
        sources = [ModelSource("local", f"/models/{name}") for name in ("x", "y")]
        session = create(database, Plan("turns", sources), PROMPTS)
        report = await run(database, session)
    assert [sorted(item) for item in shown(database, session)] == [["/models/x", "/models/y"]] * 6
    assert most == 1
    assert report.status.notes == ("there is no memory for 2 models at once: they take turns",)


def test_a_full_disk_ends_it_with_nothing_half_written(
    database: Database, tmp_path: Path, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*words: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    # The log is on that disk, too.
    monkeypatch.setattr(reporting, "print", full, raising=False)
    session = session_of(database, tmp_path)
    server.script = lambda body, index: "x" * 10_000
    ((pages,),) = database.rows("PRAGMA page_count")
    database.rows(f"PRAGMA max_page_count = {pages + 12}")
    assert generate(database, session) == StorageError.exit_code
    status = generation_status(session)
    assert status.state == "failed" and status.error is not None
    assert status.message.startswith("the disk is full")
    kept = counts(database, session).answers
    assert kept % 2 == 0 and kept < 24
    database.rows("PRAGMA max_page_count = 1000000")
    assert generate(database, session) == 0
    assert counts(database, session).items == 6
    assert generation_status(session).message == "all 24 answers are there"
