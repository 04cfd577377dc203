"""The models there are, wherever they are, and how one gets to talk to them.

Everything here runs on the thread of the conversations: the packages behind it take a second to import.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import ServerError, WorkbenchError
from workbench.tui.playground.setup import ModelChoice

if TYPE_CHECKING:
    from workbench.inference.client import Client
    from workbench.inference.generation import Embedder, Model, PromptTokens, Request
    from workbench.inference.remote_soft_prompts import SoftPromptInfo
    from workbench.inference.servers import Server
    from workbench.store.engines import EngineState

LISTING_SECONDS = 4.0
WATCH_SECONDS = 2.0


@dataclass(frozen=True)
class Listed:
    """A line of the list of models: one to choose, or, with a `problem`, a server that cannot be asked."""

    choice: ModelChoice
    group: str
    about: str = ""
    problem: str = ""


Tell = Callable[[Sequence[Listed]], object]
Say = Callable[[str], None]


class Catalog:
    """Finds models and opens them; connections are kept until `close`. Used from one event loop."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}
        self._engines: dict[ModelChoice, str] = {}
        self._finding = asyncio.Lock()
        self.closing = False
        """Whether everything is about to end, and engines are to go on."""

    async def listing(self, tell: Tell) -> None:
        """Tell of all models: those of this machine at once, those of each server as it answers.

        Raises `ServerError` for a list of servers that cannot be read.
        """
        from workbench.inference.servers import configured

        tell(await self.local())
        servers = await asyncio.to_thread(configured)
        await asyncio.gather(*(self._ask_server(server, tell) for server in servers))

    async def local(self) -> list[Listed]:
        """The models of this machine: what runs, what was fetched, what was trained."""
        return await asyncio.to_thread(_local_models)

    async def _ask_server(self, server: Server, tell: Tell) -> None:
        try:
            async with asyncio.timeout(LISTING_SECONDS):
                models = await self._client(server).models()
        except (WorkbenchError, TimeoutError) as error:
            problem = error.message if isinstance(error, WorkbenchError) else "it does not answer"
            tell([Listed(ModelChoice("server", "", server.name), server.name, server.where, problem)])
            return
        tell(
            [
                Listed(
                    ModelChoice("server", model.name, server.name),
                    server.name,
                    f"up to {model.max_length:,} tokens" if model.max_length else server.where,
                )
                for model in models
            ]
        )

    async def open(self, choice: ModelChoice, say: Say) -> Model:
        """A model to talk to. An engine is found, or started, which `say` tells of; cancelling ends the wait,
        and the engine if it was being started. Raises `ServerError`, `ModelError`."""
        if choice.kind == "local":
            return await self._open_engine(choice, say)
        from workbench.inference.servers import configured, server_at

        if choice.kind == "place":
            return await self._client(server_at(choice.server)).model(choice.model or None)
        known = {server.name: server for server in await asyncio.to_thread(configured)}
        if choice.server not in known:
            raise ServerError(
                f"there is no server called “{choice.server}” any more",
                where="servers.yaml",
                hint="choose another model",
            )
        return await self._client(known[choice.server]).model(choice.model or None)

    async def _open_engine(self, choice: ModelChoice, say: Say) -> Model:
        from workbench.inference import launch

        asked = time.time()
        async with self._finding:
            # One after the other: two columns with the same model need one engine.
            state, _ = await asyncio.to_thread(launch.find_or_start, choice.model, choice.options)
        try:
            state = await self._ready(state, choice, say)
        except asyncio.CancelledError:
            if state.created >= asked and not self.closing:
                # It was started for this alone.
                threading.Thread(target=launch.stop, args=(state.name,), daemon=True).start()
            raise
        self._engines[choice] = state.name
        return await self._client(launch.server_of(state)).model()

    async def _ready(self, state: EngineState, choice: ModelChoice, say: Say) -> EngineState:
        """Wait until an engine serves. Raises `ServerError` with its own error when it ends instead."""
        from workbench.inference import launch
        from workbench.store import engines

        while (seen := state.seen_state()) != "ready":
            if seen not in engines.ACTIVE:
                raise launch.error_of(state)
            say(state.message.replace(choice.model, choice.label) or f"starting an engine for {choice.label}")
            await asyncio.sleep(launch.POLL_SECONDS)
            state = engines.read(state.name) or engines.EngineState(state.name, state.model, state="lost")
        return state

    async def watch(self, tell: Callable[[ModelChoice, WorkbenchError], object]) -> None:
        """Tell of every opened engine that is not there any more, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            for choice in list(self._engines):
                if (error := self.trouble(choice)) is not None:
                    tell(choice, error)

    def trouble(self, choice: ModelChoice) -> WorkbenchError | None:
        """Why the engine that was opened for a choice is not there any more; None where it is."""
        from workbench.inference import launch
        from workbench.store import engines

        name = self._engines.get(choice)
        state = engines.read(name) if name else None
        if name is None or (state is not None and state.seen_state() in engines.ACTIVE):
            return None
        del self._engines[choice]
        if state is None:
            return ServerError("the engine's folder is gone", where=choice.label)
        return launch.error_of(state)

    async def tokens(self, model: Model, request: Request) -> PromptTokens:
        """The exact tokens that a model will see. Raises `ServerError` where its server cannot tell."""
        ask: Any = getattr(model, "tokens", None)
        if ask is None:
            raise ServerError("it cannot tell its tokens", where=model.name)
        told: PromptTokens = await ask(request)
        return told

    async def soft_prompts(self, choice: ModelChoice, say: Say) -> list[SoftPromptInfo]:
        """What can stand before the prompts of a model. Raises `ServerError`, also where its server knows no
        soft prompts."""
        from workbench.inference.remote_soft_prompts import soft_prompts

        return await soft_prompts(_client_of(await self.open(choice, say)))

    async def described(self, choice: ModelChoice, name: str) -> SoftPromptInfo:
        """One of them, with what its vectors lie next to. Raises `ServerError`."""
        from workbench.inference.remote_soft_prompts import described

        return await described(_client_of(await self.open(choice, lambda words: None)), name)

    async def behind(self, model: Model, soft_prompt: str) -> Model:
        """A model behind a soft prompt; with "" as it is. Raises `ServerError`."""
        if not soft_prompt:
            return model
        from workbench.inference.client import RemoteModel
        from workbench.inference.remote_soft_prompts import with_soft_prompt

        _client_of(model)
        assert isinstance(model, RemoteModel)
        return await with_soft_prompt(model, soft_prompt)

    async def embedder(self, name: str) -> Embedder | None:
        """A model of this name that gives embeddings, at any server or engine; None where there is none."""
        found: list[Listed] = []
        await self.listing(found.extend)
        for listed in found:
            if not listed.problem and name in (listed.choice.model, listed.choice.label):
                model: Any = await self.open(listed.choice, lambda words: None)
                return model if hasattr(model, "embed") else None
        return None

    def _client(self, server: Server) -> Client:
        from workbench.inference.client import Client

        if server.where not in self._clients:
            self._clients[server.where] = Client(server)
        return self._clients[server.where]

    async def close(self) -> None:
        """Drop all connections; engines go on."""
        clients, self._clients = list(self._clients.values()), {}
        await asyncio.gather(*(client.close() for client in clients))


def _client_of(model: Model) -> Client:
    from workbench.inference.client import RemoteModel

    if not isinstance(model, RemoteModel):
        raise ServerError("it takes no soft prompts", where=model.name)
    return model.client


def _local_models() -> list[Listed]:
    """Engines that run, runs with a final model, fetched models."""
    from workbench.inference.launch import running
    from workbench.store.pulled import every_pulled
    from workbench.store.runs import list_runs

    found = [
        Listed(
            ModelChoice("local", state.model, options=tuple(state.options)),
            "running here",
            " · ".join(filter(None, (state.message or state.state, " ".join(state.options)))),
        )
        for state in running()
    ]
    found += [Listed(ModelChoice("local", str(path)), "fetched models", str(path)) for path in every_pulled()]
    for run in list_runs():
        if run.final_path.is_dir():
            status = run.status()
            about = f"{status.objective} · step {status.step:,}"
            found.append(Listed(ModelChoice("local", str(run.final_path)), "runs", about))
    # Of what is there twice the first line says more: an engine runs.
    return list({entry.choice: entry for entry in reversed(found)}.values())[::-1]


def choice_of(text: str) -> ModelChoice:
    """What a person means who types the name of a model: `http://box:8000/v1 NAME`, a socket, `SERVER/NAME`,
    a run, a folder, a GGUF file, or a name on the hub. Raises `WorkbenchError`."""
    place, _, model = text.strip().partition(" ")
    path = Path(place).expanduser()
    if place.startswith(("http://", "https://")) or path.is_socket():
        return ModelChoice("place", model.strip(), place)
    from workbench.inference.servers import configured

    server, _, rest = text.strip().partition("/")
    if any(known.name == server for known in configured()):
        return ModelChoice("server", rest, server)
    return ModelChoice("local", _local_name(text.strip()))


def _local_name(text: str) -> str:
    from workbench.errors import RunError
    from workbench.store.pulled import find_pulled
    from workbench.store.runs import find_run

    pulled = find_pulled(text)
    if pulled is not None:
        return str(pulled)
    path = Path(text).expanduser()
    try:
        run = find_run(text)
    except RunError:
        return str(path.absolute()) if path.exists() else text
    if run.final_path.is_dir():
        return str(run.final_path)
    raise RunError(
        "the run has no final model yet", where=str(run.path), hint="name a checkpoint of it by its folder"
    )
