"""A model that says what it is told to, the beat of the event loop, and a server of tools."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from workbench.inference.generation import Completion, OnDelta, Request, Response, ToolCall, Usage
from workbench.prompting.tools.mcp_config import McpEntry

Turn = str | Sequence[ToolCall] | Completion | Callable[[Request], "str | Sequence[ToolCall] | Completion"]


@dataclass
class Scripted:
    """Answers each request with the next turns of the script, one a sample; keeps the requests."""

    turns: list[Turn]
    name: str = "scripted"
    requests: list[Request] = field(default_factory=list)

    async def generate(self, request: Request, on_delta: OnDelta | None = None) -> Response:
        self.requests.append(request)
        completions = [self._completion(index, request) for index in range(request.n)]
        return Response(completions, Usage(100, 10 * request.n, 40))

    def _completion(self, index: int, request: Request) -> Completion:
        turn = self.turns.pop(0)
        said = turn(request) if callable(turn) else turn
        if isinstance(said, Completion):
            said.index = index
            return said
        if isinstance(said, str):
            return Completion(index, said, "stop")
        return Completion(index, "", "tool_calls", list(said))


@pytest.fixture
def scripted() -> Callable[..., Scripted]:
    return lambda *turns: Scripted(list(turns))


@pytest.fixture
def heartbeat() -> Callable[[], Any]:
    """A context in which the event loop's pauses are measured; gives a list with the longest, in seconds."""

    @asynccontextmanager
    async def beat() -> AsyncIterator[list[float]]:
        longest = [0.0]

        async def watch() -> None:
            clock = asyncio.get_running_loop().time
            before = clock()
            while True:
                await asyncio.sleep(0.01)
                now = clock()
                longest[0] = max(longest[0], now - before - 0.01)
                before = now

        task = asyncio.create_task(watch())
        try:
            yield longest
        finally:
            task.cancel()

    return beat


@pytest.fixture
def fake_server() -> McpEntry:
    """The entry of a server that is started."""
    script = Path(__file__).with_name("fake_mcp_server.py")
    return McpEntry(command=sys.executable, args=[str(script)], env={"CANARY": "sings"})
