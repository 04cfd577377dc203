"""A model of this machine, in an engine that is started where there is none, or none any more."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from workbench.errors import ServerError

if TYPE_CHECKING:
    from workbench.inference.client import Client, RemoteModel
    from workbench.inference.generation import OnDelta, Request, Response
    from workbench.store.engines import EngineState


class EngineModel:
    """What techniques ask, and what embeds texts. An engine that has died fails the requests it had, and is
    started again by the next; to be used as a context manager, in one event loop."""

    def __init__(self, model: str, options: tuple[str, ...], soft_prompt: str | None = None) -> None:
        self.name, self._soft_prompt = model, soft_prompt
        self._local, self._options = model, options
        self._state: EngineState | None = None
        self._client: Client | None = None
        self._model: RemoteModel | None = None
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self._ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.close()

    async def generate(self, request: Request, on_delta: OnDelta | None = None) -> Response:
        """See `Model.generate`."""
        return await (await self._ready()).generate(request, on_delta)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See `Embedder.embed`."""
        return await (await self._ready()).embed(texts)

    async def _ready(self) -> RemoteModel:
        """The model at an engine that is alive. Raises `ServerError`."""
        from workbench.inference import launch
        from workbench.inference.client import Client

        async with self._starting:
            if self._model is not None and self._is_alive():
                return self._model
            if self._client is not None:
                await self._client.close()
            self._state = await started(self._local, self._options)
            self._client = Client(launch.server_of(self._state))
            self._model = await behind(await self._client.model(), self._soft_prompt)
            self.name = self._model.name
            return self._model

    def _is_alive(self) -> bool:
        from workbench.store import engines

        state = engines.read(self._state.name) if self._state is not None else None
        return state is not None and state.seen_state() == "ready"


async def behind(model: RemoteModel, soft_prompt: str | None) -> RemoteModel:
    """The model, behind a soft prompt where one is named. Raises `ServerError`."""
    if soft_prompt is None:
        return model
    from workbench.inference.remote_soft_prompts import with_soft_prompt

    return await with_soft_prompt(model, soft_prompt)


async def started(model: str, options: tuple[str, ...]) -> EngineState:
    """An engine that serves a local model; one that was started for us is ended if we are interrupted."""
    from workbench.inference import launch

    state, ours = await asyncio.to_thread(launch.find_or_start, model, options)
    line = _StartLine(model)
    given_up = threading.Event()

    def show(now: EngineState) -> None:
        if given_up.is_set() and not ours:
            raise ServerError("nobody waits for it any more", where=model)
        line.show(now)

    waiting = asyncio.ensure_future(
        asyncio.to_thread(
            launch.wait_until_ready,
            state.name,
            progress=show,
            should_stop=given_up.is_set if ours else None,
        )
    )
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        given_up.set()
        await asyncio.gather(waiting, return_exceptions=True)
        raise
    finally:
        line.clear()


class _StartLine:
    """Says on standard error what an engine is at: one line that is overwritten on a terminal."""

    def __init__(self, model: str) -> None:
        from workbench.cli import render

        self.live = render.is_terminal(sys.stderr)
        self.model, self.began, self.shown = model, time.monotonic(), False

    def show(self, state: EngineState) -> None:
        """What it is at now."""
        from workbench.cli import render

        if not self.live:
            if not self.shown:
                render.talk(f"starting an engine for {render.literal(self.model)}")
            self.shown = True
            return
        seconds = time.monotonic() - self.began
        text = render.literal(f"engine: {state.message or state.state}, {seconds:.0f} s")
        print(f"\r\x1b[K{render.clip(text, render.columns() - 1)}", end="", file=sys.stderr, flush=True)
        self.shown = True

    def clear(self) -> None:
        """Take the line away."""
        if self.live and self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
