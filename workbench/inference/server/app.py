"""The server: its table of routes, its key, its errors."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

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

LARGEST_BODY = 32 << 20
"""Bytes of a request; the longest contexts there are have some ten million characters."""


def _json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def error_content(error: WorkbenchError) -> dict[str, Any]:
    """An error in the protocol's form."""
    text = error.message + (f" ({error.hint})" if error.hint else "")
    kind = "invalid_request_error" if isinstance(error, RequestRefused) else "server_error"
    code = "queue_full" if isinstance(error, QueueFull) else None
    return {"error": {"message": text, "type": kind, "param": error.where or None, "code": code}}


def _status(error: WorkbenchError) -> int:
    return 400 if isinstance(error, RequestRefused) else 503 if isinstance(error, QueueFull) else 500


class _Endpoints:
    def __init__(self, service: Service) -> None:
        self.service = service

    async def chat(self, request: Request) -> Response:
        asked = protocol.parse(protocol.ChatRequest, await _body(request))
        self._check_name(asked.model)
        planned = await asyncio.to_thread(chat.plan, asked, self.service)
        events = self.service.events(planned.request)
        if asked.stream:
            return await _streamed(chat.stream(asked, planned, events, self.service))
        return await _answered(request, chat.whole(asked, planned, events, self.service))

    async def completions(self, request: Request) -> Response:
        asked = protocol.parse(protocol.CompletionRequest, await _body(request))
        self._check_name(asked.model)
        planned = await asyncio.to_thread(completions.plan, asked, self.service)
        if asked.stream:
            return await _streamed(completions.stream(asked, planned, self.service))
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


async def _body(request: Request) -> object:
    length = 0
    parts = []
    async for part in request.stream():
        length += len(part)
        if length > LARGEST_BODY:
            raise RequestRefused(f"the request has more than {LARGEST_BODY >> 20} MiB")
        parts.append(part)
    try:
        return orjson.loads(b"".join(parts))
    except orjson.JSONDecodeError as error:
        raise RequestRefused(f"the request is not JSON: {error}") from None


async def _answered(request: Request, answer: Awaitable[Any]) -> Response:
    """Wait for an answer and for the client's leaving, whichever is first."""
    work = asyncio.ensure_future(answer)
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return _json(_unwrapped(work))
    finally:
        for task in (work, gone):
            task.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)


def _unwrapped(work: asyncio.Future[Any]) -> Any:
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


async def _streamed(chunks: AsyncIterator[dict[str, Any]]) -> Response:
    """Server-sent events. What is refused before anything was said is an ordinary error."""
    first = await anext(chunks, None)

    async def lines() -> AsyncIterator[bytes]:
        try:
            if first is not None:
                yield b"data: " + orjson.dumps(first) + b"\n\n"
            async for chunk in chunks:
                yield b"data: " + orjson.dumps(chunk) + b"\n\n"
        except WorkbenchError as error:
            yield b"data: " + orjson.dumps(error_content(error)) + b"\n\n"
        finally:
            await chunks.aclose()  # type: ignore[attr-defined]
        yield b"data: [DONE]\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


class _Key:
    """Lets only requests with the key in; `/health` is open."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app = app
        self.key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/health":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, b"Bearer " + self.key):
                content = error_content(RequestRefused("the key is missing or wrong"))
                content["error"]["code"] = "invalid_api_key"
                await _json(content, 401)(scope, receive, send)
                return
        await self.app(scope, receive, send)


async def _show_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, WorkbenchError)
    status = 404 if isinstance(error, _NotFound) else _status(error)
    headers = {"Retry-After": "1"} if status == 503 else {}
    response = _json(error_content(error), status)
    response.headers.update(headers)
    return response


async def _unknown(request: Request, error: Exception) -> Response:
    content = error_content(RequestRefused(f"there is nothing at {request.url.path}"))
    return _json(content, getattr(error, "status_code", 404))


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("a request failed", exc_info=error)
    return _json({"error": {"message": f"{type(error).__name__}", "type": "server_error"}}, 500)


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
