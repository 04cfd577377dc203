"""The server: its table of routes, its key, how errors are shown."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from workbench.errors import WorkbenchError
from workbench.inference.engine.requests import QueueFull, RequestRefused
from workbench.inference.server import chat, completions, encoding, protocol, soft_prompts
from workbench.inference.server.exchange import answered, as_json, body_of, streamed
from workbench.inference.server.failures import NotFound, error_content, mistake_content, status_of
from workbench.inference.server.service import Service

log = logging.getLogger(__name__)


class _Endpoints:
    def __init__(self, service: Service) -> None:
        self.service = service

    async def chat(self, request: Request) -> Response:
        asked = protocol.parse(protocol.ChatRequest, await body_of(request))
        planned = await asyncio.to_thread(chat.plan, asked, self.service)
        events = self.service.events(planned.request)
        if asked.stream:
            return await streamed(request, chat.stream(asked, planned, events, self.service))
        return await answered(request, chat.whole(asked, planned, events, self.service))

    async def completions(self, request: Request) -> Response:
        asked = protocol.parse(protocol.CompletionRequest, await body_of(request))
        planned = await asyncio.to_thread(completions.plan, asked, self.service)
        if asked.stream:
            return await streamed(request, completions.stream(asked, planned, self.service))
        return await answered(request, completions.whole(asked, planned, self.service))

    def computed(self, kind: type[Any], answer: Callable[[Any, Service], Any]) -> Any:
        """An endpoint that answers at once, in a thread."""

        async def endpoint(request: Request) -> Response:
            asked = protocol.parse(kind, await body_of(request))
            self.service.chosen(asked.model)
            return as_json(await asyncio.to_thread(answer, asked, self.service))

        return endpoint

    async def models(self, request: Request) -> Response:
        return as_json({"object": "list", "data": await asyncio.to_thread(self._models)})

    async def model(self, request: Request) -> Response:
        name = request.path_params["name"]
        soft_prompt = self.service.chosen(name)
        wanted = self.service.id_of(soft_prompt)
        for model in await asyncio.to_thread(self._models):
            if model["id"] == wanted:
                return as_json(model)
        raise NotFound(f"there is no model “{name}”", where="model", hint=f"this is {self.service.name}")

    def _models(self) -> list[dict[str, Any]]:
        """The model, and it again with each soft prompt."""
        service = self.service
        model = {
            "id": service.name,
            "object": "model",
            "created": service.created,
            "owned_by": "workbench",
            "max_model_len": service.max_length,
            **service.details,
        }
        return [model, *({**model, **more} for more in soft_prompts.as_models(service))]

    async def soft_prompts(self, request: Request) -> Response:
        if request.method == "GET":
            return as_json(await asyncio.to_thread(soft_prompts.listing, self.service))
        asked = protocol.parse(soft_prompts.LoadRequest, await body_of(request))
        return as_json(await asyncio.to_thread(soft_prompts.create, asked, self.service), 201)

    async def soft_prompt(self, request: Request) -> Response:
        do = soft_prompts.describe if request.method == "GET" else soft_prompts.delete
        return as_json(await asyncio.to_thread(do, request.path_params["name"], self.service))

    async def health(self, request: Request) -> Response:
        engine = self.service.engine
        load = {} if engine is None else {**engine.load, **vars(engine.counters)}
        return as_json({"status": "ok", "model": self.service.name, **load})


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
                await as_json(content, 401)(scope, receive, send)
                return
        await self.app(scope, receive, send)


async def _show_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, WorkbenchError)
    response = as_json(error_content(error), status_of(error))
    if isinstance(error, QueueFull):
        response.headers["Retry-After"] = "1"
    return response


async def _unknown(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    text = f"{request.url.path} does not take {request.method}" if status == 405 else "there is nothing here"
    return as_json(error_content(RequestRefused(text, where=request.url.path)), status)


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("a request failed", exc_info=error)
    return as_json(mistake_content(error), 500)


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
        "/v1/score": computed(protocol.ScoreRequest, encoding.score),
        "/score": computed(protocol.ScoreRequest, encoding.score),
        "/tokenize": computed(protocol.TokenizeRequest, encoding.tokenize),
        "/detokenize": computed(protocol.DetokenizeRequest, encoding.detokenize),
    }
    routes = [Route(path, endpoint, methods=["POST"]) for path, endpoint in table.items()]
    routes += [
        Route("/v1/models", endpoints.models),
        Route("/v1/models/{name:path}", endpoints.model),
        Route("/v1/soft_prompts", endpoints.soft_prompts, methods=["GET", "POST"]),
        Route("/v1/soft_prompts/{name}", endpoints.soft_prompt, methods=["GET", "DELETE"]),
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
