"""The client of the OpenAI protocol: our engine, vLLM, llama.cpp, Ollama, a cloud. No torch.

Built on the official package. What only some servers know (`top_k`, `min_p`) is sent as they spell it, and
when one refuses it, left out and said so: an answer with a note is better than none.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.errors import ServerError
from workbench.inference.deltas import Calls, chat_delta, completion_delta, usage_of
from workbench.inference.generation import (
    Completion,
    Delta,
    OnDelta,
    Request,
    Response,
    Usage,
)
from workbench.inference.server_errors import FieldRefused, explained, message_in
from workbench.inference.servers import Server

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 600.0
"""How long a server may say nothing: long prompts on slow machines take minutes."""
OWN_FIELDS = ("top_k", "min_p", "repetition_penalty")
"""What the protocol lacks and vLLM, llama.cpp and our engine have."""


@dataclass(frozen=True)
class ModelInfo:
    """A model that a server has. `max_length` and `details` are there where it tells them."""

    name: str
    server: str
    max_length: int | None = None
    details: dict[str, Any] | None = None


class Client:
    """One server. To be used from one event loop; `close` it, or use it as a context manager."""

    def __init__(self, server: Server) -> None:
        import httpx2
        from openai import AsyncOpenAI

        self.server = server
        transport = None
        if server.socket is not None:
            transport = httpx2.AsyncHTTPTransport(uds=str(server.socket))
        timeout = httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        self._http = httpx2.AsyncClient(transport=transport, timeout=timeout)
        base = server.url if server.socket is None else "http://workbench/v1"
        self.api = AsyncOpenAI(
            base_url=base,
            api_key=server.key or "none",
            http_client=self._http,
            max_retries=0,
            timeout=timeout,
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Drop the connections."""
        await self._http.aclose()

    async def models(self) -> list[ModelInfo]:
        """What the server has. Raises `ServerError`."""
        with explained(self.server):
            listed = await self.api.models.list()
            return [
                ModelInfo(
                    model.id,
                    self.server.name,
                    _integer(getattr(model, "max_model_len", None)),
                    dict(model.model_extra or {}),
                )
                for model in listed.data
            ]

    async def model(self, name: str | None = None) -> RemoteModel:
        """A model by name; without one, the only one there is. Raises `ServerError`."""
        if name is not None:
            return RemoteModel(self, name)
        models = await self.models()
        if len(models) != 1:
            names = ", ".join(model.name for model in models[:8]) or "none"
            raise ServerError(
                f"the server has {len(models)} models", where=self.server.where, hint=f"name one: {names}"
            )
        return RemoteModel(self, models[0].name)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What the server answers to a request that is not of the protocol, such as `/tokenize`."""
        with explained(self.server):
            base = str(self.api.base_url).removesuffix("/").removesuffix("/v1")
            headers = {"Authorization": f"Bearer {self.server.key}"} if self.server.key else {}
            answer = await self._http.post(f"{base}{path}", json=body, headers=headers)
            if answer.status_code == 404:
                raise ServerError(f"the server has no {path}", where=self.server.where)
            content = answer.json()
            if answer.status_code >= 400:
                raise ServerError(message_in(content, answer.status_code), where=self.server.where)
            return dict(content)


class RemoteModel:
    """A model at a server: what techniques ask, and what embeds texts."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.refused: set[str] = set()
        """Settings that this server would not take."""

    async def generate(self, request: Request, on_delta: OnDelta | None = None) -> Response:
        """See `Model.generate`. Always streamed, so that the time to the first token is known and a
        cancelled task ends the work at the server."""
        while True:
            try:
                return await self._generate(request, on_delta)
            except FieldRefused as refused:
                self.refused.add(refused.field)

    async def _generate(self, request: Request, on_delta: OnDelta | None) -> Response:
        started = time.monotonic()
        answer = Response([Completion(index) for index in range(request.n)], model=self.name)
        answer.notes = tuple(
            f"{self.client.server.name} does not know {field}" for field in sorted(self.refused)
        )
        calls = [Calls() for _ in range(request.n)]
        with explained(self.client.server, self._optional(request)):
            async for delta, extra in self._stream(request):
                if isinstance(extra, Usage):
                    answer.usage = extra
                if delta is None:
                    continue
                if answer.first_token_seconds is None and (delta.text or extra):
                    answer.first_token_seconds = time.monotonic() - started
                completion = answer.completions[delta.index]
                completion.text += delta.text
                completion.logprobs.extend(delta.logprobs)
                completion.finish_reason = delta.finish_reason or completion.finish_reason
                if isinstance(extra, list):
                    calls[delta.index].add(extra)
                if on_delta is not None:
                    on_delta(delta)
        for completion, found in zip(answer.completions, calls, strict=True):
            completion.tool_calls = found.calls()
        answer.seconds = time.monotonic() - started
        return answer

    def _optional(self, request: Request) -> list[str]:
        """What of a request could be left out if the server refuses it."""
        sampling = request.sampling
        fields = [name for name in (*OWN_FIELDS, "seed") if getattr(sampling, name) is not None]
        if request.logprobs is not None:
            fields.append("logprobs")
        return [*(field for field in fields if field not in self.refused), "stream_options"]

    async def _stream(self, request: Request) -> AsyncIterator[tuple[Delta | None, Any]]:
        chat = request.prompt is None
        body: dict[str, Any] = {"model": self.name, "stream": True, **self._settings(request)}
        if chat:
            body["messages"] = list(request.messages)
            stream: Any = await self.client.api.chat.completions.create(**body)
        else:
            body["prompt"] = request.prompt
            stream = await self.client.api.completions.create(**body)
        async with stream:
            async for chunk in stream:
                usage = usage_of(getattr(chunk, "usage", None))
                if usage is not None:
                    yield None, usage
                for choice in chunk.choices:
                    yield chat_delta(choice) if chat else completion_delta(choice)

    def _settings(self, request: Request) -> dict[str, Any]:
        s, chat = request.sampling, request.prompt is None
        fields: dict[str, Any] = {
            "max_tokens": s.max_tokens,
            "temperature": s.temperature,
            "top_p": s.top_p,
            "presence_penalty": s.presence_penalty,
            "frequency_penalty": s.frequency_penalty,
            "stop": list(s.stop) or None,
            "seed": s.seed,
            "n": request.n if request.n > 1 else None,
            "stream_options": {"include_usage": True},
        }
        if request.logprobs is not None and "logprobs" not in self.refused:
            fields["logprobs"] = True if chat else request.logprobs
            if chat and request.logprobs:
                fields["top_logprobs"] = request.logprobs
        if chat and request.tools:
            fields["tools"] = list(request.tools)
            fields["tool_choice"] = request.tool_choice
        extra = {name: getattr(s, name) for name in OWN_FIELDS}
        if request.response_format is not None:
            if chat:
                fields["response_format"] = dict(request.response_format)
            else:
                extra["response_format"] = dict(request.response_format)
        kept = {
            name: value for name, value in fields.items() if value is not None and name not in self.refused
        }
        own = {name: value for name, value in extra.items() if value is not None and name not in self.refused}
        return {**kept, **({"extra_body": own} if own else {})}

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See `Embedder.embed`."""
        with explained(self.client.server):
            answer = await self.client.api.embeddings.create(model=self.name, input=list(texts))
            return [entry.embedding for entry in sorted(answer.data, key=lambda entry: entry.index)]

    async def tokens(self, request: Request) -> list[tuple[int, str]]:
        """The exact tokens that the model will see. Raises `ServerError` where the server cannot tell."""
        body: dict[str, Any] = {"model": self.name, "return_token_strs": True}
        if request.prompt is not None:
            body["prompt"] = request.prompt
        else:
            body |= {"messages": list(request.messages), "tools": list(request.tools) or None}
        told = await self.client.post("/tokenize", body)
        return list(zip(told["tokens"], told.get("token_strs") or [""] * len(told["tokens"]), strict=True))


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) else None
