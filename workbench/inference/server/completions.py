"""`POST /v1/completions`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from workbench.inference.engine.requests import (
    Ended,
    EngineRequest,
    Event,
    Progress,
    PromptRead,
    RequestRefused,
    TokenInfo,
)
from workbench.inference.server.answers import TokenNames, completion_logprobs, new_id, now, usage
from workbench.inference.server.constraints import grammar_of
from workbench.inference.server.protocol import CompletionRequest
from workbench.inference.server.service import Service


def prompts_of(given: str | list[str] | list[int] | list[list[int]]) -> list[str | list[int]]:
    """The prompts or inputs of a request, each a text or token ids. Raises `RequestRefused`."""
    if isinstance(given, str):
        return [given]
    if not given:
        raise RequestRefused("there is nothing in it", where="prompt")
    if all(isinstance(entry, int) for entry in given):
        return [[int(entry) for entry in given if isinstance(entry, int)]]
    return [entry for entry in given if not isinstance(entry, int)]


def plan(asked: CompletionRequest, service: Service) -> list[EngineRequest]:
    """Turn a request into the engine's, one a prompt. Raises `RequestRefused`."""
    service.writer()
    if asked.suffix:
        raise RequestRefused("a suffix cannot be filled up to by this model", where="suffix")
    if asked.best_of not in (None, asked.n):
        raise RequestRefused("best_of is not supported", where="best_of", hint="ask for n, and choose")
    grammar = grammar_of(asked.response_format)
    requests = []
    for prompt in prompts_of(asked.prompt):
        ids = (
            service.renderer.tokens(prompt, add_special_tokens=asked.add_special_tokens)
            if isinstance(prompt, str)
            else _checked(prompt, service)
        )
        params = service.params(asked, len(ids), asked.max_tokens or 16)
        requests.append(
            EngineRequest(
                prompt=tuple(ids),
                params=params,
                n=asked.n,
                logprobs=asked.logprobs,
                prompt_logprobs=asked.echo and asked.logprobs is not None,
                grammar=grammar,
                skip_special=asked.skip_special_tokens,
            )
        )
    return requests


def _checked(ids: list[int], service: Service) -> list[int]:
    size = service.writer().runner.vocabulary
    for token in ids:
        if not 0 <= token < size:
            raise RequestRefused(
                f"{token} is no token of this model", where="prompt", hint=f"ids are 0 to {size - 1}"
            )
    return ids


@dataclass
class _Choice:
    index: int
    text: str = ""
    tokens: list[TokenInfo] = field(default_factory=list)
    finish_reason: str | None = None


async def whole(asked: CompletionRequest, requests: list[EngineRequest], service: Service) -> dict[str, Any]:
    """The answer in one piece; several prompts are served together."""
    names = TokenNames(service.renderer.tokenizer)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_collect(service.events(request), request.n)) for request in requests]
    choices, cached, written = [], 0, 0
    for place, (request, task) in enumerate(zip(requests, tasks, strict=True)):
        read, answers = task.result()
        cached += read.cached
        echoed = _echo(asked, request, service)
        for answer in answers:
            written += len(answer.tokens)
            tokens = [*(read.tokens if asked.echo else ()), *answer.tokens]
            choices.append(
                {
                    "index": place * asked.n + answer.index,
                    "text": echoed + answer.text,
                    "logprobs": completion_logprobs(tokens, names) if asked.logprobs is not None else None,
                    "finish_reason": answer.finish_reason,
                }
            )
    return {
        "id": new_id("cmpl"),
        "object": "text_completion",
        "created": now(),
        "model": service.name,
        "choices": choices,
        "usage": usage(sum(len(request.prompt) for request in requests), written, cached),
    }


def _echo(asked: CompletionRequest, request: EngineRequest, service: Service) -> str:
    if not asked.echo:
        return ""
    text: str = service.renderer.tokenizer.decode(
        list(request.prompt), skip_special_tokens=request.skip_special, clean_up_tokenization_spaces=False
    )
    return text


async def _collect(events: AsyncIterator[Event], n: int) -> tuple[PromptRead, list[_Choice]]:
    read, answers = PromptRead(0), [_Choice(index) for index in range(n)]
    async for event in events:
        if isinstance(event, PromptRead):
            read = event
        elif isinstance(event, Progress):
            answer = answers[event.index]
            answer.text += event.text
            answer.tokens.extend(event.tokens)
            answer.finish_reason = event.finish_reason
        elif isinstance(event, Ended) and event.error is not None:
            raise event.error
    return read, answers


async def stream(
    asked: CompletionRequest, requests: list[EngineRequest], service: Service
) -> AsyncIterator[dict[str, Any]]:
    """The answer in chunks, one prompt after the other."""
    names = TokenNames(service.renderer.tokenizer)
    frame = {
        "id": new_id("cmpl"),
        "object": "text_completion",
        "created": now(),
        "model": service.name,
    }
    with_usage = asked.stream_options is not None and asked.stream_options.include_usage
    cached = written = 0
    for place, request in enumerate(requests):
        echoed = _echo(asked, request, service)
        offsets = [0] * request.n
        async for event in service.events(request):
            if isinstance(event, PromptRead):
                cached += event.cached
                if asked.echo:
                    for index in range(request.n):
                        told = completion_logprobs(list(event.tokens), names) if event.tokens else None
                        offsets[index] = len(echoed)
                        yield _chunk(frame, place * asked.n + index, echoed, told, None, with_usage)
            elif isinstance(event, Progress):
                written += len(event.tokens)
                told = None
                if asked.logprobs is not None:
                    told = completion_logprobs(list(event.tokens), names, offsets[event.index])
                    offsets[event.index] += len("".join(told["tokens"]))
                yield _chunk(
                    frame, place * asked.n + event.index, event.text, told, event.finish_reason, with_usage
                )
            elif isinstance(event, Ended) and event.error is not None:
                raise event.error
    if with_usage:
        counted = usage(sum(len(request.prompt) for request in requests), written, cached)
        yield {**frame, "choices": [], "usage": counted}


def _chunk(
    frame: dict[str, Any],
    index: int,
    text: str,
    logprobs: dict[str, Any] | None,
    finish_reason: str | None,
    with_usage: bool,
) -> dict[str, Any]:
    choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}
    return {**frame, "choices": [choice], **({"usage": None} if with_usage else {})}
