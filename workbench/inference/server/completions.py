"""`POST /v1/completions`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from workbench.inference.engine.requests import (
    Ended,
    EngineRequest,
    Progress,
    PromptRead,
    RequestRefused,
    TokenInfo,
)
from workbench.inference.server.answers import CompletionLogprobs, TokenNames, new_id, now, usage
from workbench.inference.server.constraints import grammar_of
from workbench.inference.server.protocol import CompletionRequest
from workbench.inference.server.service import Service


def prompts_of(
    given: str | list[str] | list[int] | list[list[int]], service: Service, where: str
) -> list[str | list[int]]:
    """The prompts or inputs of a request, each a text or token ids that the model has.

    Raises `RequestRefused` naming the field.
    """
    if isinstance(given, str):
        return [given]
    if not given:
        raise RequestRefused("there is nothing in it", where=where)
    numbers = [entry for entry in given if isinstance(entry, int)]
    prompts = [entry for entry in given if not isinstance(entry, int)]
    if numbers:
        prompts = [numbers]
    for prompt in prompts:
        if not isinstance(prompt, str):
            check_tokens(prompt, service, where)
    return prompts


def check_tokens(ids: Sequence[int], service: Service, where: str) -> None:
    """Raise `RequestRefused` for a number that is no token of the model."""
    size = service.vocabulary
    for token in ids:
        if not 0 <= token < size:
            raise RequestRefused(
                f"{token} is no token of this model", where=where, hint=f"ids are 0 to {size - 1}"
            )


def plan(asked: CompletionRequest, service: Service) -> list[EngineRequest]:
    """Turn a request into the engine's, one a prompt. Raises `RequestRefused`."""
    service.writer()
    if asked.suffix:
        raise RequestRefused("a suffix cannot be filled up to by this model", where="suffix")
    if asked.best_of not in (None, asked.n):
        raise RequestRefused("best_of is not supported", where="best_of", hint="ask for n, and choose")
    soft_prompt = service.soft_prompt(asked.model, asked.soft_prompt)
    grammar = grammar_of(asked.response_format, service)
    requests = []
    for prompt in prompts_of(asked.prompt, service, "prompt"):
        ids = (
            service.renderer.tokens(prompt, add_special_tokens=asked.add_special_tokens)
            if isinstance(prompt, str)
            else prompt
        )
        most = 16 if asked.max_tokens is None else asked.max_tokens
        params = service.params(asked, len(ids), most, soft_prompt)
        requests.append(
            EngineRequest(
                prompt=tuple(ids),
                params=params,
                n=asked.n,
                logprobs=asked.logprobs,
                prompt_logprobs=asked.echo and asked.logprobs is not None,
                grammar=grammar,
                skip_special=asked.skip_special_tokens,
                continues=service.continues_prompts,
                soft_prompt=soft_prompt,
            )
        )
    return requests


def _decoder(request: EngineRequest, service: Service) -> Callable[[list[int]], str]:
    def decode(ids: list[int]) -> str:
        text: str = service.renderer.tokenizer.decode(
            ids, skip_special_tokens=request.skip_special, clean_up_tokenization_spaces=False
        )
        return text

    return decode


def _logprobs(
    asked: CompletionRequest, request: EngineRequest, names: TokenNames, decode: Callable[[list[int]], str]
) -> CompletionLogprobs:
    before = request.prompt if request.continues and not asked.echo else ()
    return CompletionLogprobs(names, decode, before)


async def _steps(request: EngineRequest, service: Service) -> AsyncGenerator[PromptRead | Progress, None]:
    """What becomes of a request. Where no tokens are wanted, the one that the engine draws is left out."""
    async with aclosing(service.events(request)) as events:
        async for event in events:
            if isinstance(event, Progress) and request.params.max_tokens == 0:
                yield Progress(event.index, "", (), "length")
            elif not isinstance(event, Ended):
                yield event
            elif event.error is not None:
                raise event.error


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
        tasks = [group.create_task(_collect(request, service)) for request in requests]
    choices, cached, written = [], 0, 0
    for place, (request, task) in enumerate(zip(requests, tasks, strict=True)):
        read, answers = task.result()
        cached += read.cached
        decode = _decoder(request, service)
        echoed = decode(list(request.prompt)) if asked.echo else ""
        for answer in answers:
            written += len(answer.tokens)
            told = None
            if asked.logprobs is not None:
                told = _logprobs(asked, request, names, decode).of([*read.tokens, *answer.tokens])
            choices.append(
                _choice(place * asked.n + answer.index, echoed + answer.text, told, answer.finish_reason)
            )
    return {
        "id": new_id("cmpl"),
        "object": "text_completion",
        "created": now(),
        "model": service.id_of(requests[0].soft_prompt),
        "choices": choices,
        "usage": usage(sum(len(request.prompt) for request in requests), written, cached),
    }


async def _collect(request: EngineRequest, service: Service) -> tuple[PromptRead, list[_Choice]]:
    read, answers = PromptRead(0), [_Choice(index) for index in range(request.n)]
    async with aclosing(_steps(request, service)) as steps:
        async for event in steps:
            if isinstance(event, PromptRead):
                read = event
            else:
                answer = answers[event.index]
                answer.text += event.text
                answer.tokens.extend(event.tokens)
                answer.finish_reason = event.finish_reason
    return read, answers


async def stream(
    asked: CompletionRequest, requests: list[EngineRequest], service: Service
) -> AsyncGenerator[dict[str, Any], None]:
    """The answer in chunks, one prompt after the other."""
    names = TokenNames(service.renderer.tokenizer)
    with_usage = asked.stream_options is not None and bool(asked.stream_options.include_usage)
    frame = {
        "id": new_id("cmpl"),
        "object": "text_completion",
        "created": now(),
        "model": service.id_of(requests[0].soft_prompt),
        **({"usage": None} if with_usage else {}),
    }
    cached = written = 0
    for place, request in enumerate(requests):
        decode = _decoder(request, service)
        logprobs = [_logprobs(asked, request, names, decode) for _ in range(request.n)]
        async with aclosing(_steps(request, service)) as steps:
            async for event in steps:
                if isinstance(event, PromptRead):
                    cached += event.cached
                    indices, text, reason = range(request.n), decode(list(request.prompt)), None
                    if not asked.echo:
                        continue
                else:
                    written += len(event.tokens)
                    indices, text, reason = (
                        range(event.index, event.index + 1),
                        event.text,
                        event.finish_reason,
                    )
                for index in indices:
                    told = logprobs[index].of(event.tokens) if asked.logprobs is not None else None
                    yield {**frame, "choices": [_choice(place * asked.n + index, text, told, reason)]}
    if with_usage:
        counted = usage(sum(len(request.prompt) for request in requests), written, cached)
        yield {**frame, "choices": [], "usage": counted}


def _choice(
    index: int, text: str, logprobs: dict[str, Any] | None, finish_reason: str | None
) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}
