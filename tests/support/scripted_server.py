"""A server of the OpenAI protocol that says what a test wants it to say; no model, no torch."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from scripted_model import tokens
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Script = Callable[[dict[str, Any], int], str]
"""What to answer to the body of a request as its nth answer; it may raise `Refused`."""


class Refused(Exception):
    """The request is answered with an error."""

    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.message, self.status = message, status


@dataclass
class ScriptedServer:
    """What is served, and what was asked. `seconds` passes before each answer begins, and again between
    its words; `most` is the largest number of requests that were under way at once."""

    script: Script
    models: tuple[str, ...] = ("scripted",)
    seconds: float = 0.0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    running: int = 0
    most: int = 0
    cut_off: int = 0

    def app(self) -> Starlette:
        """Its application."""
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
        ]
        return Starlette(routes=routes)

    async def _models(self, request: Request) -> Response:
        return JSONResponse(
            {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]}
        )

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.seconds)
            said = [self.script(body, index) for index in range(body.get("n") or 1)]
        except Refused as error:
            self.running -= 1
            return JSONResponse({"error": {"message": error.message}}, status_code=error.status)
        except BaseException:
            self.running -= 1
            raise
        return StreamingResponse(self._stream(body, said), media_type="text/event-stream")

    async def _stream(self, body: dict[str, Any], said: list[str]) -> AsyncIterator[str]:
        complete = False
        try:
            for index, text in enumerate(said):
                for token in tokens(text):
                    yield _event(body, index, {"content": token}, None)
                    await asyncio.sleep(self.seconds)
                yield _event(body, index, {}, "stop")
            read = sum(len(tokens(str(message.get("content") or ""))) for message in body["messages"])
            usage = {
                "prompt_tokens": read,
                "completion_tokens": sum(len(tokens(text)) for text in said),
                "prompt_tokens_details": {"cached_tokens": 1},
            }
            yield f"data: {json.dumps(_chunk(body, [], usage))}\n\n"
            yield "data: [DONE]\n\n"
            complete = True
        finally:
            self.running -= 1
            self.cut_off += not complete


def _event(body: dict[str, Any], index: int, delta: dict[str, Any], reason: str | None) -> str:
    choice = {"index": index, "delta": delta, "finish_reason": reason, "logprobs": None}
    return f"data: {json.dumps(_chunk(body, [choice], None))}\n\n"


def _chunk(body: dict[str, Any], choices: list[Any], usage: dict[str, Any] | None) -> dict[str, Any]:
    about = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": body["model"]}
    return {**about, "choices": choices, "usage": usage}


@contextmanager
def listening(served: ScriptedServer, path: Path) -> Iterator[Path]:
    """The socket at which it is served from a thread of this process, until the end."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(64)
    config = uvicorn.Config(
        served.app(), log_level="critical", lifespan="off", ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield path
    finally:
        server.should_exit = True
        thread.join(20)


def last_message(body: dict[str, Any]) -> str:
    """The last message of a request's body."""
    return str(body["messages"][-1]["content"])
