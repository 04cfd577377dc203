"""The server: its table of routes, its key, its errors."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from workbench.errors import WorkbenchError
from workbench.inference.engine.requests import QueueFull, RequestRefused
from workbench.inference.server import chat, completions, encoding, protocol
from workbench.inference.server.service import Service

log = logging.getLogger(__name__)
Result = TypeVar("Result")
Chunks = AsyncGenerator[dict[str, Any], None]

LARGEST_BODY = 32 << 20
"""Bytes of a request; the longest contexts there are have some ten million characters."""
MOST_READ = 4 * LARGEST_BODY
"""Of a larger one so much is read and thrown away, for most clients only listen once they have sent all."""


def _json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def error_content(error: WorkbenchError) -> dict[str, Any]:
    """An error in the protocol's form."""
    text = error.message + (f" ({error.hint})" if error.hint else "")
    kind = "invalid_request_error" if isinstance(error, RequestRefused) else "server_error"
    code = "queue_full" if isinstance(error, QueueFull) else None
    if isinstance(error, _NotFound):
        code = "model_not_found"
    return {"error": {"message": text, "type": kind, "param": error.where or None, "code": code}}


def _status(error: WorkbenchError) -> int:
    for kind, status in ((_NotFound, 404), (_TooLarge, 413), (RequestRefused, 400), (QueueFull, 503)):
        if isinstance(error, kind):
            return status
    return 500


class _Endpoints:
    def __init__(self, service: Service) -> None:
        self.service = service

    async def chat(self, request: Request) -> Response:
        asked = protocol.parse(protocol.ChatRequest, await _body(request))
        self._check_name(asked.model)
        planned = await asyncio.to_thread(chat.plan, asked, self.service)
        events = self.service.events(planned.request)
        if asked.stream:
            return await _streamed(request, chat.stream(asked, planned, events, self.service))
        return await _answered(request, chat.whole(asked, planned, events, self.service))

    async def completions(self, request: Request) -> Response:
        asked = protocol.parse(protocol.CompletionRequest, await _body(request))
        self._check_name(asked.model)
        planned = await asyncio.to_thread(completions.plan, asked, self.service)
        if asked.stream:
            return await _streamed(request, completions.stream(asked, planned, self.service))
        return await _answered(request, completions.whole(asked, planned, self.service))

    def _check_name(self, name: str | None) -> None:
        if name not in (None, "", "default", self.service.name):
            raise _NotFound(f"there is no model “{name}”", where="model", hint=f"this is {self.service.name}")

    def computed(self, kind: type[Any], answer: Callable[[Any, Service], Any]) -> Any:
        """An endpoint that answers at once, in a thread."""

        async def endpoint(request: Request) -> Response:
            asked = protocol.parse(kind, await _body(request))
            self._check_name(asked.model)
            return _json(await asyncio.to_thread(answer, asked, self.service))

        return endpoint

    async def models(self, request: Request) -> Response:
        return _json({"object": "list", "data": [self._model()]})

    async def model(self, request: Request) -> Response:
        self._check_name(request.path_params["name"])
        return _json(self._model())

    def _model(self) -> dict[str, Any]:
        service = self.service
        return {
            "id": service.name,
            "object": "model",
            "created": service.created,
            "owned_by": "workbench",
            "max_model_len": service.max_length,
            **service.details,
        }

    async def health(self, request: Request) -> Response:
        engine = self.service.engine
        load = {} if engine is None else {**engine.load, **vars(engine.counters)}
        return _json({"status": "ok", "model": self.service.name, **load})


class _NotFound(RequestRefused):
    """Something by that name is not here."""


class _TooLarge(RequestRefused):
    """A request of too many bytes."""


async def _body(request: Request) -> object:
    length = 0
    parts = []
    async for part in request.stream():
        length += len(part)
        if length <= LARGEST_BODY:
            parts.append(part)
        elif length > MOST_READ:
            break
    if length > LARGEST_BODY:
        raise _TooLarge(f"the request has more than {LARGEST_BODY >> 20} MiB")
    try:
        return orjson.loads(b"".join(parts))
    except orjson.JSONDecodeError as error:
        raise RequestRefused(f"the request is not JSON: {error}") from None


async def _answered(request: Request, answer: Coroutine[Any, Any, Any]) -> Response:
    return _json(await _while_there(request, answer))


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


async def _streamed(request: Request, chunks: Chunks) -> Response:
    """Server-sent events. What is refused before anything was said is an ordinary error."""

    async def begin() -> dict[str, Any] | None:
        return await anext(chunks, None)

    return _EventStream(_lines(await _while_there(request, begin()), chunks))


async def _lines(first: dict[str, Any] | None, chunks: Chunks) -> AsyncGenerator[bytes, None]:
    async with aclosing(chunks):
        try:
            if first is not None:
                yield _line(first)
            async for chunk in chunks:
                yield _line(chunk)
        except WorkbenchError as error:
            yield _line(error_content(error))
        except Exception as error:
            log.exception("a stream failed")
            yield _line(_unexpected_content(error))
    yield b"data: [DONE]\n\n"


def _line(content: object) -> bytes:
    return b"data: " + orjson.dumps(content) + b"\n\n"


class _EventStream(StreamingResponse):
    """Ends the work behind it as soon as it is over itself, whichever way."""

    def __init__(self, lines: AsyncGenerator[bytes, None]) -> None:
        super().__init__(lines, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self.lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self.lines):
            await super().__call__(scope, receive, send)


class _Key:
    """Lets only requests with the key in; `/health` is open."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app = app
        self.key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/health":
            scheme, _, given = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(given, self.key):
                content = error_content(RequestRefused("the key is missing or wrong"))
                content["error"]["code"] = "invalid_api_key"
                await _json(content, 401)(scope, receive, send)
                return
        await self.app(scope, receive, send)


async def _show_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, WorkbenchError)
    response = _json(error_content(error), _status(error))
    if isinstance(error, QueueFull):
        response.headers["Retry-After"] = "1"
    return response


async def _unknown(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    text = f"{request.url.path} does not take {request.method}" if status == 405 else "there is nothing here"
    return _json(error_content(RequestRefused(text, where=request.url.path)), status)


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("a request failed", exc_info=error)
    return _json(_unexpected_content(error), 500)


def _unexpected_content(error: Exception) -> dict[str, Any]:
    """What a client may know of our own mistake; the log has the rest."""
    text = f"the server made a mistake: {type(error).__name__}"
    return {"error": {"message": text, "type": "server_error", "param": None, "code": None}}


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)


def make_app(service: Service, key: str | None = None) -> ASGIApp:
    """The application that serves a model, to those who have the key if there is one."""
    endpoints = _Endpoints(service)
    computed = endpoints.computed
    table: dict[str, Any] = {
        "/v1/chat/completions": endpoints.chat,
        "/v1/completions": endpoints.completions,
        "/v1/embeddings": computed(protocol.EmbeddingRequest, encoding.embeddings),
        "/v1/fill-mask": computed(protocol.TextsRequest, encoding.fill_mask),
        "/v1/classify": computed(protocol.TextsRequest, encoding.classify),
        "/tokenize": computed(protocol.TokenizeRequest, encoding.tokenize),
        "/detokenize": computed(protocol.DetokenizeRequest, encoding.detokenize),
    }
    routes = [Route(path, endpoint, methods=["POST"]) for path, endpoint in table.items()]
    routes += [
        Route("/v1/models", endpoints.models),
        Route("/v1/models/{name:path}", endpoints.model),
        Route("/health", endpoints.health),
    ]
    handlers: dict[Any, Any] = {
        WorkbenchError: _show_error,
        ClientDisconnect: _gone,
        404: _unknown,
        405: _unknown,
        Exception: _unexpected,
    }
    app: ASGIApp = Starlette(routes=routes, exception_handlers=handlers)
    return app if key is None else _Key(app, key)
