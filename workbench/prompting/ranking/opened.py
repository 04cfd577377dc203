"""A model that answers for a session: found or started, and found again when its server was lost."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench.errors import ServerError, UsageError
from workbench.prompting.ranking.sources import ModelSource

if TYPE_CHECKING:
    from workbench.inference.client import Client, RemoteModel
    from workbench.inference.servers import Server
    from workbench.store.engines import EngineState

BACKOFF_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Between tries to reach a server that was lost: a minute, in which most come up again."""
LISTING_SECONDS = 10.0
Say = Callable[[str], None]


class OpenedModel:
    """One model, opened when it is first asked for. Used from one event loop; `close` it."""

    def __init__(self, name: str, source: ModelSource, say: Say) -> None:
        self.name, self.source, self._say = name, source, say
        self.continues = False
        """Whether it was found to have no chat template, so that it continues texts."""
        self._client: Client | None = None
        self._model: RemoteModel | None = None
        self._engine: EngineState | None = None
        self._ours = False
        self._turn = asyncio.Lock()

    async def ready(self) -> RemoteModel:
        """The model to ask. Raises `ServerError`, at once where it never was there."""
        async with self._turn:
            if self._model is None:
                self._model = await self._open()
            return self._model

    async def mend(self, failed: RemoteModel) -> None:
        """Wait until the server that a request failed at answers again; nothing where it does so already.

        Raises `ServerError` when it does not come back.
        """
        async with self._turn:
            if self._model is not failed:
                return
            last = await self._trouble()
            if last is None:
                return
            await self._drop()
            began = time.monotonic()
            for pause in BACKOFF_SECONDS:
                self._say(f"{self.name} was lost ({last.message}); trying again in {pause:.0f} s")
                await asyncio.sleep(pause)
                try:
                    self._model = await self._open()
                    last = await self._trouble()
                    if last is None:
                        self._say("")
                        return
                except ServerError as error:
                    last = error
                await self._drop()
            raise ServerError(
                f"the server of {self.name} was lost, and did not come back in "
                f"{time.monotonic() - began:.0f} s: {last.message}",
                where=last.where or self.source.where,
                hint=last.hint or "see to it, then generate the missing answers",
            )

    async def close(self, *, end_engine: bool = False) -> None:
        """Drop the connection, and with `end_engine` also the engine, if it was started for this."""
        async with self._turn:
            engine, ours = self._engine, self._ours
            await self._drop()
            if end_engine and engine is not None and ours:
                from workbench.inference import launch

                await asyncio.to_thread(launch.stop, engine.name)

    async def _drop(self) -> None:
        client, self._client, self._model = self._client, None, None
        if client is not None:
            await client.close()

    async def _trouble(self) -> ServerError | None:
        """Why the server does not answer; None where it does, be it that it lists no models."""
        assert self._client is not None
        try:
            async with asyncio.timeout(LISTING_SECONDS):
                await self._client.models()
        except TimeoutError:
            return ServerError("it does not answer", where=self.source.where)
        except ServerError as error:
            status = getattr(error.__context__, "status_code", None)
            # What stands before a server that is down says 502 to 504.
            return error if status is None or status >= 500 else None
        return None

    async def _open(self) -> RemoteModel:
        from workbench.inference import launch
        from workbench.inference.client import Client

        if self.source.kind == "local":
            state = self._engine = await self._started()
            self.continues = state.details.get("has_chat_template") is False
            self._client = Client(launch.server_of(state))
            return await self._client.model()
        self._client = Client(await asyncio.to_thread(self._server))
        return await self._client.model(self.source.model or None)

    async def _started(self) -> EngineState:
        """An engine that serves; one started for us is ended if we are cancelled meanwhile."""
        from workbench.inference import launch
        from workbench.store import engines

        source = self.source
        state, new = await asyncio.to_thread(launch.find_or_start, source.model, source.options)
        self._ours = self._ours or new
        try:
            while (seen := state.seen_state()) != "ready":
                if seen not in engines.ACTIVE:
                    raise launch.error_of(state)
                self._say(f"{self.name}: {state.message or 'starting an engine'}")
                await asyncio.sleep(launch.POLL_SECONDS)
                state = engines.read(state.name) or engines.EngineState(state.name, state.model, state="lost")
        except asyncio.CancelledError:
            if new:
                threading.Thread(target=launch.stop, args=(state.name,)).start()
            raise
        return state

    def _server(self) -> Server:
        """Where a model that is not of this machine is served. Raises `ServerError`, `UsageError`."""
        from workbench.inference.servers import configured, server_at

        source = self.source
        if source.kind == "place":
            key = os.environ.get(source.key_env, "") if source.key_env else ""
            if source.key_env and not key:
                raise UsageError(f"the variable {source.key_env} is not set", where=self.name)
            return server_at(source.server, key)
        known = {server.name: server for server in configured()}
        if source.server not in known:
            raise ServerError(
                f"there is no server called “{source.server}” any more",
                where="servers.yaml",
                hint=f"known are {', '.join(known) or 'none'}",
            )
        return known[source.server]
