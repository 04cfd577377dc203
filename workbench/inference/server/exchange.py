"""Bodies in, answers out, whole or as events, for as long as the client is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from workbench.errors import WorkbenchError
from workbench.inference.engine.requests import RequestRefused
from workbench.inference.server.failures import TooLarge, error_content, mistake_content

log = logging.getLogger(__name__)
Result = TypeVar("Result")
Chunks = AsyncGenerator[dict[str, Any], None]

LARGEST_BODY = 32 << 20
"""Bytes of a request; the longest contexts there are have some ten million characters."""
MOST_READ = 4 * LARGEST_BODY
"""Of a larger one so much is read and thrown away, for most clients only listen once they have sent all."""


def as_json(content: object, status: int = 200) -> Response:
    """An answer in one piece."""
    return Response(orjson.dumps(content), status, media_type="application/json")


async def body_of(request: Request) -> object:
    """The JSON that a client sent. Raises `RequestRefused`."""
    length = 0
    parts = []
    async for part in request.stream():
        length += len(part)
        if length <= LARGEST_BODY:
            parts.append(part)
        elif length > MOST_READ:
            break
    if length > LARGEST_BODY:
        raise TooLarge(f"the request has more than {LARGEST_BODY >> 20} MiB")
    try:
        return orjson.loads(b"".join(parts))
    except orjson.JSONDecodeError as error:
        raise RequestRefused(f"the request is not JSON: {error}") from None


async def answered(request: Request, answer: Coroutine[Any, Any, Any]) -> Response:
    """An answer once it is there. The work ends when the client leaves."""
    return as_json(await _while_there(request, answer))


async def streamed(request: Request, chunks: Chunks) -> Response:
    """Server-sent events. What is refused before anything was said is an ordinary error."""

    async def begin() -> dict[str, Any] | None:
        return await anext(chunks, None)

    return _EventStream(await _while_there(request, begin()), chunks)


async def _while_there(request: Request, answer: Coroutine[Any, Any, Result]) -> Result:
    """Wait for an answer and for the client's leaving, whichever is first."""
    work = asyncio.ensure_future(answer)
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return _unwrapped(work)
    finally:
        for task in (work, gone):
            task.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)


def _unwrapped(work: asyncio.Future[Result]) -> Result:
    error = work.exception()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None:
        raise error
    return work.result()


async def _disconnected(request: Request) -> None:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return


class _EventStream(StreamingResponse):
    """Ends the work behind it as soon as it is over itself, whichever way."""

    def __init__(self, first: dict[str, Any] | None, chunks: Chunks) -> None:
        self.chunks = chunks
        self.lines = _lines(first, chunks)
        super().__init__(self.lines, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self.chunks), aclosing(self.lines):
            await super().__call__(scope, receive, send)


async def _lines(first: dict[str, Any] | None, chunks: Chunks) -> AsyncGenerator[bytes, None]:
    try:
        if first is not None:
            yield _line(first)
        async for chunk in chunks:
            yield _line(chunk)
    except WorkbenchError as error:
        yield _line(error_content(error))
    except Exception as error:
        log.exception("a stream failed")
        yield _line(mistake_content(error))
    yield b"data: [DONE]\n\n"


def _line(content: object) -> bytes:
    return b"data: " + orjson.dumps(content) + b"\n\n"
