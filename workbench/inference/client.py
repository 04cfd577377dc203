"""The client of the OpenAI protocol: our engine, vLLM, llama.cpp, Ollama, a cloud. No torch.

Built on the official package. What only some servers know (`top_k`, `min_p`) is sent as they spell it, and
when one refuses it, left out and said so: an answer with a note is better than none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from workbench.errors import ServerError
from workbench.inference.deltas import Calls, chat_delta, completion_delta, usage_of
from workbench.inference.generation import (
    Completion,
    Delta,
    OnDelta,
    PromptToken,
    PromptTokens,
    Request,
    Response,
    Usage,
)
from workbench.inference.request_body import optional_fields, request_body
from workbench.inference.server_errors import FieldRefused, explained, message_in
from workbench.inference.servers import Server

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 600.0
"""How long a server may say nothing: long prompts on slow machines take minutes."""


@dataclass(frozen=True)
class ModelInfo:
    """A model that a server has. `max_length` and `details` are there where it tells them."""

    name: str
    server: str
    max_length: int | None = None
    details: dict[str, Any] | None = None


class Client:
    """One server. To be used from one event loop; `close` it, or use it as a context manager.

    A server that says nothing for `silence_seconds` is given up.
    """

    def __init__(self, server: Server, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        import httpx2
        from openai import AsyncOpenAI

        self.server = server
        transport = None
        if server.socket is not None:
            transport = httpx2.AsyncHTTPTransport(uds=str(server.socket))
        timeout = httpx2.Timeout(silence_seconds, connect=CONNECT_SECONDS)
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
        """A model by name; without one, the only one there is, what is only put on top of it left aside.

        Raises `ServerError`.
        """
        if name is not None:
            return RemoteModel(self, name)
        models = [model for model in await self.models() if not (model.details or {}).get("parent")]
        if len(models) != 1:
            names = ", ".join(model.name for model in models[:8]) or "none"
            raise ServerError(
                f"the server has {len(models)} models", where=self.server.where, hint=f"name one: {names}"
            )
        return RemoteModel(self, models[0].name)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What the server answers to a request that is not of the protocol, such as `/tokenize`."""
        return await self.request("POST", path, body)

    async def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The same, by any method. Raises `ServerError`."""
        with explained(self.server):
            base = str(self.api.base_url).removesuffix("/").removesuffix("/v1")
            headers = {"Authorization": f"Bearer {self.server.key}"} if self.server.key else {}
            answer = await self._http.request(method, f"{base}{path}", json=body, headers=headers)
            if answer.status_code == 404 and not _explains(answer):
                raise ServerError(f"the server has no {path}", where=self.server.where)
            if answer.status_code >= 400:
                is_json = "json" in answer.headers.get("content-type", "")
                words = message_in(answer.json() if is_json else answer.text, answer.status_code)
                raise ServerError(words, where=self.server.where)
            return dict(answer.json())


class RemoteModel:
    """A model at a server: what techniques ask, and what embeds texts."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.refused: set[str] = set()
        """Fields that this server does not take."""

    async def generate(self, request: Request, on_delta: OnDelta | None = None) -> Response:
        """See `Model.generate`. Always streamed, so that the time to the first token is known and a
        cancelled task ends the work at the server."""
        started = time.monotonic()
        answer = Response([Completion(index) for index in range(request.n)], model=self.name)
        filling = _Filling(answer, started, on_delta)
        if request.n == 1 or "n" not in self.refused:
            await self._ask(request, filling)
        if missing := [one.index for one in answer.completions if one.finish_reason is None]:
            self.refused.add("n")
            await self._ask_singly(request, filling, missing)
        server = self.client.server.name
        unknown = (f"{server} does not know {field}" for field in sorted(self.refused))
        answer.notes = (*unknown, *filling.notes)
        answer.seconds = time.monotonic() - started
        return answer

    async def _ask(self, request: Request, filling: _Filling, first: int = 0) -> None:
        """Fill in the completions from `first` on, as many as are asked for and the server gives."""
        while True:
            pieces = self._pieces(request)
            try:
                async with aclosing(pieces):
                    async for delta, more in pieces:
                        filling.add(delta, more, first)
                return
            except FieldRefused as refused:
                self.refused.add(refused.field)
                if refused.field == "n":
                    return

    async def _ask_singly(self, request: Request, filling: _Filling, indices: Sequence[int]) -> None:
        """For servers that give one answer whatever is asked for. Seeds differ, or all would be the same."""
        sampling = request.sampling
        try:
            async with asyncio.TaskGroup() as group:
                for index in indices:
                    seed = None if sampling.seed is None else sampling.seed + index
                    single = replace(request, n=1, sampling=replace(sampling, seed=seed))
                    group.create_task(self._ask(single, filling, index))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _pieces(self, request: Request) -> AsyncGenerator[tuple[Delta | None, Any], None]:
        """What the server says: pieces of answers with pieces of calls, what it counted, and its notes.

        Raises `ServerError`, also where an answer has no end, and `FieldRefused`.
        """
        is_chat = request.prompt is None
        body = request_body(request, self.name, self.refused)
        create: Any = (
            self.client.api.chat.completions.create if is_chat else self.client.api.completions.create
        )
        begun: set[int] = set()
        ended: set[int] = set()
        with explained(self.client.server, optional_fields(request, self.refused)):
            async with await create(**body) as stream:
                async for chunk in stream:
                    if (usage := usage_of(getattr(chunk, "usage", None))) is not None:
                        yield None, usage
                    if isinstance(notes := getattr(chunk, "notes", None), list):
                        yield None, [str(note) for note in notes]
                    for choice in chunk.choices or ():
                        delta, calls = chat_delta(choice) if is_chat else completion_delta(choice)
                        if not 0 <= delta.index < request.n:
                            raise ValueError(f"there is no answer {delta.index} of {request.n}")
                        begun.add(delta.index)
                        if delta.finish_reason is not None:
                            ended.add(delta.index)
                        yield delta, calls
        if not ended or begun != ended:
            how = "in the middle of its answer" if begun else "before its answer began"
            raise ServerError(f"the server broke off {how}", where=self.client.server.where)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See `Embedder.embed`."""
        with explained(self.client.server):
            answer = await self.client.api.embeddings.create(model=self.name, input=list(texts))
            return [entry.embedding for entry in sorted(answer.data, key=lambda entry: entry.index)]

    async def score(
        self, prompt: str | Sequence[Mapping[str, Any]], completions: Sequence[str]
    ) -> list[float]:
        """What a reward model says of each answer to a prompt, a text or messages. Raises `ServerError`, also
        where the model is none."""
        asked = {"prompt": prompt} if isinstance(prompt, str) else {"messages": list(prompt)}
        body = {"model": self.name, "completions": list(completions), **asked}
        told = await self.client.post("/v1/score", body)
        with explained(self.client.server):
            entries = sorted(told["data"], key=lambda entry: int(entry["index"]))
            return [float(entry["score"]) for entry in entries]

    async def tokens(self, request: Request) -> PromptTokens:
        """The exact tokens that the model will see. Raises `ServerError` where the server cannot tell."""
        body: dict[str, Any] = {"model": self.name, "return_token_strs": True}
        if request.prompt is not None:
            body["prompt"] = request.prompt
        else:
            body |= {"messages": list(request.messages), "tools": list(request.tools) or None}
        told = await self.client.post("/tokenize", body)
        with explained(self.client.server):
            ids = [int(token) for token in told["tokens"]]
            texts = [str(text) for text in told.get("token_strs") or [""] * len(ids)]
            special: list[bool | None] = told.get("special") or [None] * len(ids)
            notes = tuple(str(note) for note in told.get("notes") or ())
            tokens = (PromptToken(*parts) for parts in zip(ids, texts, special, strict=True))
            return PromptTokens(tuple(tokens), notes)


class _Filling:
    """An answer that is being filled in from the pieces of one or more requests."""

    def __init__(self, answer: Response, started: float, on_delta: OnDelta | None) -> None:
        self.answer = answer
        self.started = started
        self.on_delta = on_delta
        self.calls = [Calls() for _ in answer.completions]
        self.notes: dict[str, None] = {}
        """What the server has to say of the request, each once."""

    def add(self, delta: Delta | None, more: Any, first: int) -> None:
        """Take a piece of the answer whose number is `first` and the piece's own, or what was counted, or
        noted."""
        if delta is None:
            if isinstance(more, Usage):
                self.answer.usage += more
            else:
                self.notes.update(dict.fromkeys(more))
            return
        index = first + delta.index
        completion = self.answer.completions[index]
        if self.answer.first_token_seconds is None and (delta.text or more):
            self.answer.first_token_seconds = time.monotonic() - self.started
        if more:
            self.calls[index].add(more)
            completion.tool_calls = self.calls[index].calls()
        completion.text += delta.text
        completion.logprobs.extend(delta.logprobs)
        completion.finish_reason = delta.finish_reason or completion.finish_reason
        if self.on_delta is not None:
            self.on_delta(replace(delta, index=index))


def _explains(answer: Any) -> bool:
    """Whether a 404 is about something in the request rather than about its path."""
    try:
        return answer.json()["error"]["code"] is not None
    except (ValueError, LookupError, TypeError):
        return False


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) else None
