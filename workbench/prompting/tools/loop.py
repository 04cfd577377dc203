"""Tool use: the model calls, the calls are carried out, the results go back, until it answers.

Yao et al. 2022, "ReAct", in the form that chat templates and servers have for it now.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import Field, field_validator

from workbench.inference.generation import Completion, Message, Request, ToolCall, Usage
from workbench.prompting.technique import Outcome, Session, Step, Task
from workbench.prompting.together import together
from workbench.prompting.tools.protocols import NativeProtocol, TextProtocol, ToolProtocol
from workbench.prompting.tools.specification import Entry, build_toolbox, read_entry
from workbench.prompting.tools.tool import Result, Status, clip
from workbench.prompting.tools.toolbox import Toolbox
from workbench.prompting.zero_shot import shares
from workbench.recipe.section import Section

SEED_STEP = 1_000_003
UNHAPPY: tuple[Status, ...] = ("failed", "malformed", "denied")


class ToolUseSettings(Section):
    """Which tools the model has, and how far it may go with them."""

    tools: tuple[Entry, ...] = Field(
        ("calculator",),
        min_length=1,
        description="Names, or names with settings: calculator, python, search, mcp.",
    )
    max_rounds: int = Field(8, ge=1, le=100, description="Rounds of calls before it must answer without.")
    max_calls: int = Field(16, ge=1, le=256, description="Calls in one round; others are refused.")
    max_result_characters: int = Field(
        8_000, ge=100, description="Characters of a result that the model is given; more are left out."
    )
    timeout: float = Field(120.0, gt=0, description="Seconds a call may take.")
    tool_choice: Literal["auto", "required"] = Field(
        "auto", description="Whether its first turn may be an answer, or must be a call."
    )
    protocol: Literal["native", "text"] = Field(
        "native", description="The server's own tools, or plain text for servers and models without."
    )

    @field_validator("tools")
    @classmethod
    def _known(cls, tools: tuple[Entry, ...]) -> tuple[Entry, ...]:
        for entry in tools:
            read_entry(entry)
        return tools


@dataclass
class _Chain:
    """One conversation on its way to an answer; `logprobs` is None once a turn came without."""

    number: int
    messages: tuple[Message, ...]
    usage: Usage = Usage()
    logprobs: list[float] | None = field(default_factory=list)
    rounds: int = 0
    statuses: Counter[Status] = field(default_factory=Counter)

    def hear(self, completion: Completion, usage: Usage) -> None:
        """Account for an answer."""
        self.usage += usage
        if completion.logprobs and self.logprobs is not None:
            self.logprobs.extend(token.logprob for token in completion.logprobs)
        else:
            self.logprobs = None

    def outcome(self, completion: Completion) -> Outcome:
        """What the chain came to with its last answer."""
        told = self.logprobs
        return Outcome(
            text=completion.text,
            logprob=sum(told) if told is not None else None,
            logprob_tokens=len(told or ()),
            messages=(*self.messages, {"role": "assistant", "content": completion.text}),
            usage=self.usage,
            details={
                "finish_reason": completion.finish_reason,
                "tools": {
                    "rounds": self.rounds,
                    "calls": self.statuses.total(),
                    **{status: self.statuses[status] for status in UNHAPPY},
                },
            },
        )


class ToolUse:
    """Sends the requests itself, with the tools of `toolbox`, or with those of the settings.

    The tools are opened by the first run and stay open for the next; `aclose` leaves their servers.
    """

    name = "tools"
    Settings = ToolUseSettings

    def __init__(self, settings: ToolUseSettings | None = None, *, toolbox: Toolbox | None = None) -> None:
        self.settings = settings or ToolUseSettings()
        native = self.settings.protocol == "native"
        self._protocol: ToolProtocol = NativeProtocol() if native else TextProtocol()
        self._toolbox = toolbox
        self._opening = asyncio.Lock()

    async def aclose(self) -> None:
        """Leave the servers of the tools."""
        if self._toolbox is not None:
            await self._toolbox.aclose()

    async def run(self, task: Task, session: Session, samples: int = 1) -> list[Outcome]:
        """Chains that call tools independently of each other. Raises `ServerError`, `ToolError`.

        The first turn of all is one request, so that a server reads the prompt once.
        """
        toolbox = await self._opened(session)
        run = _Run(self.settings, self._protocol, toolbox, task, session)
        response = await session.ask(run.first_request(samples), "Turn 1", 0)
        usages = shares(response.usage, response.completions)

        async def follow(number: int, completion: Completion) -> Outcome:
            chain = _Chain(number, task.messages)
            chain.hear(completion, usages[number])
            outcome = await run.follow(chain, completion)
            if session.on_outcome is not None:
                session.on_outcome(number, outcome)
            return outcome

        return await together(follow(*numbered) for numbered in enumerate(response.completions))

    async def _opened(self, session: Session) -> Toolbox:
        async with self._opening:
            if self._toolbox is None:
                # In a thread, since a collection to search is opened from disk.
                build = asyncio.to_thread(build_toolbox, self.settings.tools, session.embedder)
                self._toolbox = await build
            await self._toolbox.open()
            return self._toolbox


@dataclass(frozen=True)
class _Run:
    """One task in one session."""

    settings: ToolUseSettings
    protocol: ToolProtocol
    toolbox: Toolbox
    task: Task
    session: Session

    def first_request(self, samples: int) -> Request:
        """The prompt with the tools."""
        request = self._offer(self.task.request(samples))
        required = self.settings.tool_choice == "required" and request.tools
        return replace(request, tool_choice="required") if required else request

    async def follow(self, chain: _Chain, completion: Completion) -> Outcome:
        """From the first turn to the answer."""
        free = True
        while free and (calls := self.protocol.calls(completion)):
            results = await together(self._call(chain, *numbered) for numbered in enumerate(calls))
            turn = [self.protocol.said(completion, calls), *self.protocol.returned(calls, results)]
            chain.messages = (*chain.messages, *turn)
            chain.rounds += 1
            free = chain.rounds < self.settings.max_rounds
            if not free:
                note = f"{chain.rounds} rounds of calls: it must answer now"
                self.session.trace.add(Step("note", note, {"rounds": chain.rounds}, chain.number))
            completion = await self._ask(chain, free=free)
        if free and self.task.response_format is not None:
            # A grammar for the answer would forbid the calls, so it comes once there are no more.
            completion = await self._ask(chain, free=False)
        return chain.outcome(completion)

    async def _ask(self, chain: _Chain, *, free: bool) -> Completion:
        """The next turn: with tools as long as the model is free to call them."""
        request = self.task.with_messages(*chain.messages).request()
        if request.sampling.seed is not None:
            # The same seed in all chains would make them one, as soon as they read the same.
            seed = (request.sampling.seed + chain.number + SEED_STEP * chain.rounds) % 2**63
            request = replace(request, sampling=replace(request.sampling, seed=seed))
        title = f"Turn {chain.rounds + 1}" if free else "Answer without tools"
        request = self._offer(request) if free else request
        response = await self.session.ask(request, title, chain.number)
        completion = response.completions[0]
        chain.hear(completion, response.usage)
        return completion

    def _offer(self, request: Request) -> Request:
        return self.protocol.offer(replace(request, response_format=None), self.toolbox.as_openai())

    async def _call(self, chain: _Chain, number: int, call: ToolCall) -> Result:
        """Carry out one call, and keep it and its result in the trace."""
        content: dict[str, Any] = {"id": call.id, "name": call.name, "arguments": call.arguments}
        self.session.trace.add(Step("tool_call", call.name, content, chain.number))
        started = time.monotonic()
        if number < self.settings.max_calls:
            result = await self.toolbox.call(
                call.name, call.arguments, approve=self.session.approve, seconds=self.settings.timeout
            )
        else:
            result = Result(f"Error: at most {self.settings.max_calls} calls in one turn", "malformed")
        chain.statuses[result.status] += 1
        shown = replace(result, text=clip(result.text, self.settings.max_result_characters))
        content = {"id": call.id, "name": call.name, "status": result.status, "text": shown.text}
        self.session.trace.add(
            Step("tool_result", call.name, content, chain.number, time.monotonic() - started)
        )
        return shown
