"""What goes on on the other thread, told as events in a queue: a model opened, a prompt put to it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from workbench.errors import WorkbenchError
from workbench.tui.playground.events import (
    END,
    Began,
    Cancelled,
    Event,
    Failed,
    Finished,
    Grew,
    Heard,
    Opened,
    Said,
    Stepped,
    ToolAsked,
)

if TYPE_CHECKING:
    from workbench.inference.generation import Embedder
    from workbench.prompting.composition import Composition
    from workbench.prompting.technique import Outcome
    from workbench.tui.playground.backstage import Backstage
    from workbench.tui.playground.outgoing import Outgoing
    from workbench.tui.playground.setup import ModelChoice


class Errand:
    """Something that goes on for a model. The interface takes its `events`; the last is one of `END`."""

    def __init__(self, choice: ModelChoice) -> None:
        self.choice = choice
        self.events: SimpleQueue[Event] = SimpleQueue()
        self._backstage: Backstage | None = None
        self._given_up = False
        self._work: asyncio.Task[Event] | None = None

    def start(self, backstage: Backstage) -> None:
        """Begin."""
        self._backstage = backstage
        backstage.run(self._run(backstage))

    def cancel(self) -> None:
        """Give it up; the server is told, and `Cancelled` comes when all has ended."""
        self._given_up = True
        if self._backstage is not None:
            self._backstage.call(self._give_up)

    def _give_up(self) -> None:
        if self._work is not None:
            self._work.cancel()

    def take(self) -> list[Event]:
        """All events so far, each given once."""
        taken: list[Event] = []
        with suppress(Empty):
            while not taken or not isinstance(taken[-1], END):
                taken.append(self.events.get_nowait())
        return taken

    async def work(self, backstage: Backstage) -> Event:
        """What there is to do; returns the last event."""
        raise NotImplementedError

    async def _run(self, backstage: Backstage) -> None:
        put = self.events.put
        try:
            self._work = asyncio.create_task(self.work(backstage))
            if self._given_up:
                self._work.cancel()
            put(await self._work)
        except asyncio.CancelledError:
            put(Cancelled(time.monotonic()))
        except WorkbenchError as error:
            put(Failed(backstage.catalog.trouble(self.choice) or error, time.monotonic()))
        except Exception as error:
            # Whatever a technique or a tool does wrong, the interface is told and goes on.
            failure = WorkbenchError(f"{type(error).__name__}: {error}", where=self.choice.label)
            put(Failed(failure, time.monotonic()))


class Opening(Errand):
    """Getting a model ready before anything is asked of it."""

    async def work(self, backstage: Backstage) -> Event:
        """See `Errand`."""
        await backstage.catalog.open(self.choice, lambda words: self.events.put(Said(words)))
        return Opened()


class Job(Errand):
    """A prompt put to a model by a technique."""

    def __init__(self, outgoing: Outgoing) -> None:
        assert outgoing.setup.model is not None
        super().__init__(outgoing.setup.model)
        self.outgoing = outgoing
        self.allow_all = not outgoing.setup.approve

    async def work(self, backstage: Backstage) -> Event:
        """See `Errand`."""
        return Finished(await self._ask(backstage), time.monotonic())

    async def _ask(self, backstage: Backstage) -> list[Outcome]:
        from workbench.prompting.technique import Session, Trace

        put, setup = self.events.put, self.outgoing.setup
        prompt = self.outgoing.prompt()
        task, technique = self.outgoing.task(prompt), self.outgoing.technique(prompt)
        model = await backstage.catalog.open(self.choice, lambda words: put(Said(words)))
        model = await backstage.catalog.behind(model, setup.soft_prompt)
        session = Session(
            model,
            Trace(listener=lambda step: put(Stepped(step))),
            on_delta=lambda delta: put(Grew(delta, time.monotonic())),
            approve=self._approve,
            embedder=await embedder_for(technique, backstage),
            on_outcome=lambda chain, outcome: put(Heard(chain, outcome)),
        )
        put(Began(technique.name, time.monotonic()))
        try:
            return await technique.run(task, session, setup.samples)
        finally:
            await technique.aclose()

    async def _approve(self, name: str, arguments: str) -> bool:
        """Have a person allow a call."""
        if self.allow_all:
            return True
        loop = asyncio.get_running_loop()
        decided: asyncio.Future[bool] = loop.create_future()

        def decide(allowed: bool) -> None:
            if not decided.done():
                decided.set_result(allowed)

        def answer(allowed: bool) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(decide, allowed)

        self.events.put(ToolAsked(name, arguments, answer))
        return await decided


async def embedder_for(technique: Composition, backstage: Backstage) -> Embedder | None:
    """The model that embeds queries as the technique's collection was embedded, where one is at hand."""
    settings: Any = technique.settings.get("rag")
    if settings is None or not settings.collection:
        return None
    from workbench.prompting.retrieval.folders import describe

    record = await asyncio.to_thread(describe, settings.collection)
    return await backstage.catalog.embedder(record.embedder) if record.embedder else None
