"""`POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.inference.engine.requests import (
    Ended,
    EngineRequest,
    Progress,
    PromptRead,
    RequestRefused,
    TokenInfo,
)
from workbench.inference.engine.text import StopStrings
from workbench.inference.server.answers import TokenNames, chat_logprobs, new_id, now, usage
from workbench.inference.server.constraints import checked, grammar_of
from workbench.inference.server.protocol import ChatRequest, NamedTool
from workbench.inference.server.service import Events, Service
from workbench.inference.server.tool_calls import parse_calls
from workbench.inference.server.tool_format import ToolFormat
from workbench.inference.server.tool_grammar import calls_grammar


@dataclass
class _Plan:
    """A request as the engine takes it, and what its answers need to be understood."""

    request: EngineRequest
    tools: list[dict[str, Any]]
    form: ToolFormat | None
    """How calls are written, where there may be any."""
    notes: tuple[str, ...]
    """What the client should know of its request; told in `notes` beside the answer, if there is anything."""

    @property
    def told(self) -> dict[str, Any]:
        """The notes as a part of the answer."""
        return {"notes": list(self.notes)} if self.notes else {}


def plan(asked: ChatRequest, service: Service) -> _Plan:
    """Turn a request into the engine's. Raises `RequestRefused`."""
    service.writer()
    soft_prompt = service.soft_prompt(asked.model, asked.soft_prompt)
    renderer = service.renderer
    tools = [tool.model_dump(exclude_none=True) for tool in asked.tools or []]
    choice = asked.tool_choice if tools else "none"
    if not tools and asked.tool_choice not in (None, "none", "auto"):
        raise RequestRefused("a tool has to be called, and there are no tools", where="tool_choice")
    if asked.top_logprobs and not asked.logprobs:
        raise RequestRefused("top_logprobs needs logprobs", where="top_logprobs", hint="set logprobs to true")
    if isinstance(choice, NamedTool):
        tools = [tool for tool in tools if tool["function"]["name"] == choice.function.name]
        if not tools:
            raise RequestRefused(f"there is no tool “{choice.function.name}”", where="tool_choice")
    rendered = renderer.chat(
        asked.messages,
        tools,
        add_generation_prompt=asked.add_generation_prompt,
        continue_final_message=asked.continue_final_message,
        options=asked.chat_template_kwargs,
    )
    grammar = grammar_of(asked.response_format, service)
    may_call = bool(tools) and choice != "none"
    if may_call and grammar is not None:
        raise RequestRefused("an answer cannot have both tools and a response_format", where="tools")
    form = renderer.tool_format if may_call else None
    if form is not None:
        grammar = calls_grammar(
            tools,
            form,
            renderer.special_tokens,
            required=choice == "required" or isinstance(choice, NamedTool),
            parallel=asked.parallel_tool_calls,
        )
        checked(grammar, service, "tools")
    most = asked.max_completion_tokens or asked.max_tokens
    params = service.params(asked, len(rendered.ids), most, soft_prompt)
    if renderer.end_text is not None and not asked.ignore_eos:
        params = replace(params, stop=(*params.stop, renderer.end_text))
    request = EngineRequest(
        prompt=tuple(rendered.ids),
        params=params,
        n=asked.n,
        logprobs=asked.top_logprobs if asked.logprobs else None,
        grammar=grammar,
        # Calls may begin with a special token, which has to be seen to be understood.
        skip_special=asked.skip_special_tokens and form is None,
        continues=asked.continue_final_message and service.continues_prompts,
        soft_prompt=soft_prompt,
    )
    return _Plan(request, tools, form, rendered.notes)


@dataclass
class _Choice:
    """An answer as it grows. Where calls may come, their text is kept back until it is known what it is."""

    index: int
    form: ToolFormat | None
    names: list[str]
    text: str = ""
    """All of it, and of a finished answer what is not a call."""
    tokens: list[TokenInfo] = field(default_factory=list)
    finish_reason: str | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)
    shown: int = 0
    """Characters of the text that were given out."""

    def __post_init__(self) -> None:
        begin = self.form.begin.strip() if self.form is not None else ""
        self._until_call = StopStrings([begin] if begin else [])
        self._hold_all = self.form is not None and not begin
        self._pending = ""

    def add(self, event: Progress) -> str:
        """Take a step; what may be shown of the content."""
        self.text += event.text
        self.tokens.extend(event.tokens)
        self.finish_reason = event.finish_reason
        if event.finish_reason is not None:
            self._understand()
            shown = self.text[self.shown :]
        elif self._hold_all:
            return ""
        else:
            self._pending += self._until_call.add(event.text)
            # Blanks before a call are no part of the content.
            shown = self._pending if self.form is None else self._pending.rstrip()
            self._pending = self._pending[len(shown) :]
        self.shown += len(shown)
        return shown

    def _understand(self) -> None:
        """Find the calls, now that all is there."""
        if self.form is None:
            return
        self.text, calls = parse_calls(self.text, self.form, self.names)
        self.calls = [{"index": place, **call.as_message()} for place, call in enumerate(calls)]
        if calls and self.finish_reason == "stop":
            self.finish_reason = "tool_calls"

    def message(self) -> dict[str, Any]:
        """The whole message."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text, "refusal": None}
        if self.calls:
            message["content"] = self.text or None
            message["tool_calls"] = [
                {key: value for key, value in call.items() if key != "index"} for call in self.calls
            ]
        return message


def _choices(planned: _Plan) -> list[_Choice]:
    names = [tool["function"]["name"] for tool in planned.tools]
    return [_Choice(index, planned.form, names) for index in range(planned.request.n)]


async def whole(asked: ChatRequest, planned: _Plan, events: Events, service: Service) -> dict[str, Any]:
    """The answer in one piece."""
    choices, cached = _choices(planned), 0
    async with aclosing(events):
        async for event in events:
            if isinstance(event, PromptRead):
                cached = event.cached
            elif isinstance(event, Progress):
                choices[event.index].add(event)
            elif isinstance(event, Ended) and event.error is not None:
                raise event.error
    names = TokenNames(service.renderer.tokenizer)
    return {
        "id": new_id("chatcmpl"),
        "object": "chat.completion",
        "created": now(),
        "model": service.id_of(planned.request.soft_prompt),
        "choices": [
            {
                "index": choice.index,
                "message": choice.message(),
                "logprobs": chat_logprobs(choice.tokens, names) if asked.logprobs else None,
                "finish_reason": choice.finish_reason,
            }
            for choice in choices
        ],
        "usage": usage(len(planned.request.prompt), sum(len(choice.tokens) for choice in choices), cached),
        **planned.told,
    }


async def stream(
    asked: ChatRequest, planned: _Plan, events: Events, service: Service
) -> AsyncGenerator[dict[str, Any], None]:
    """The answer in chunks."""
    choices, cached = _choices(planned), 0
    names = TokenNames(service.renderer.tokenizer)
    with_usage = asked.stream_options is not None and asked.stream_options.include_usage
    frame = {
        "id": new_id("chatcmpl"),
        "object": "chat.completion.chunk",
        "created": now(),
        "model": service.id_of(planned.request.soft_prompt),
    }

    def chunk(index: int, delta: dict[str, Any], **more: Any) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None, **more}
        return {**frame, "choices": [choice], **({"usage": None} if with_usage else {})}

    def logprobs(tokens: list[TokenInfo]) -> dict[str, Any]:
        return {"logprobs": chat_logprobs(tokens, names)} if asked.logprobs and tokens else {}

    waiting: dict[int, list[TokenInfo]] = {choice.index: [] for choice in choices}
    async with aclosing(events):
        async for event in events:
            if isinstance(event, PromptRead):
                cached = event.cached
                for choice in choices:
                    first = chunk(choice.index, {"role": "assistant", "content": ""})
                    yield {**first, **planned.told}
            elif isinstance(event, Progress):
                choice = choices[event.index]
                shown = choice.add(event)
                waiting[event.index] += event.tokens
                if shown:
                    yield chunk(event.index, {"content": shown}, **logprobs(waiting[event.index]))
                    waiting[event.index] = []
                for call in choice.calls:
                    yield chunk(event.index, {"tool_calls": [call]})
                if choice.finish_reason is not None:
                    rest = logprobs(waiting[event.index])
                    yield chunk(event.index, {}, finish_reason=choice.finish_reason, **rest)
            elif isinstance(event, Ended) and event.error is not None:
                raise event.error
    if with_usage:
        counted = usage(len(planned.request.prompt), sum(len(choice.tokens) for choice in choices), cached)
        yield {**frame, "choices": [], "usage": counted}
