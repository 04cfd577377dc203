"""The tools a model is given, and the life of one call: read, checked, approved, run."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Self

from workbench.errors import ToolError
from workbench.prompting.technique import Approve
from workbench.prompting.together import together
from workbench.prompting.tools import arguments as written
from workbench.prompting.tools.mcp_server import McpServer
from workbench.prompting.tools.tool import CallDenied, CallFailed, MalformedCall, Result, Tool, clip
from workbench.prompting.validation import did_you_mean

NAME_CHARACTERS = 64

Chosen = tuple[McpServer, frozenset[str] | None]
"""A server and the names of its tools that are wanted, None for all."""


class Toolbox:
    """Tools by name, those of MCP servers once it is open. Belongs to one event loop."""

    def __init__(self, tools: Iterable[Tool] = (), servers: Iterable[Chosen] = ()) -> None:
        self._servers = tuple(servers)
        self._tools: dict[str, Tool] = {}
        self._opening = asyncio.Lock()
        self._asking = asyncio.Lock()
        self._open = False
        for tool in tools:
            _add(self._tools, tool)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def tools(self) -> tuple[Tool, ...]:
        """All tools, under the names they are called by."""
        return tuple(self._tools.values())

    def as_openai(self) -> tuple[dict[str, Any], ...]:
        """The `tools` of a request."""
        return tuple(tool.as_openai() for tool in self.tools)

    async def open(self) -> None:
        """Reach all servers, once. Raises `ToolError` for one that cannot be used or lacks a tool."""
        async with self._opening:
            if self._open:
                return
            # It takes a tenth of a second, which the first call would otherwise take from the event loop.
            await asyncio.to_thread(importlib.import_module, "jsonschema")
            listed = await together(server.tools() for server, _ in self._servers)
            tools = dict(self._tools)
            for (server, wanted), offered in zip(self._servers, listed, strict=True):
                for tool in _chosen(server.name, offered, wanted):
                    _add(tools, tool, server.name)
            self._tools = tools
            self._open = True

    async def aclose(self) -> None:
        """Leave all servers. A call to one of their tools reaches its server again."""
        await together(server.aclose() for server, _ in self._servers)

    async def call(
        self, name: str, arguments: str, *, approve: Approve | None = None, seconds: float | None = None
    ) -> Result:
        """Carry out a call as the model wrote it; whatever is wrong with it becomes text for the model.

        `approve` is asked about calls that could be made, and about no others, one after the other: a
        person may have to read them. `seconds` bounds the tool, not that person.
        """
        try:
            tool, checked = self._read(name, arguments)
            if approve is not None:
                async with self._asking:
                    allowed = approve(name, arguments)
                    if not (await allowed if inspect.isawaitable(allowed) else allowed):
                        raise CallDenied("the user did not allow this call")
            return Result(await _run(tool, checked, seconds))
        except CallFailed as failure:
            return Result(f"Error: {failure}", failure.status)

    def _read(self, name: str, arguments: str) -> tuple[Tool, dict[str, Any]]:
        if not name:
            raise MalformedCall(f"a call is JSON with a name and arguments, not: {clip(arguments, 200)}")
        tool = self._tools.get(name)
        if tool is None:
            known = f"the tools are: {', '.join(self._tools)}" if self._tools else "there are no tools"
            raise MalformedCall(f"there is no tool “{name}”; {did_you_mean(name, self._tools) or known}")
        return tool, written.read(arguments, tool.parameters)


async def _run(tool: Tool, arguments: dict[str, Any], seconds: float | None) -> str:
    clock = asyncio.timeout(seconds)
    try:
        async with clock:
            return await tool.call(arguments)
    except TimeoutError:
        if not clock.expired():
            raise
        raise CallFailed(f"the tool was not done after {seconds:g} seconds") from None


def _chosen(server: str, offered: list[Tool], wanted: frozenset[str] | None) -> list[Tool]:
    missing = sorted(wanted - {tool.name for tool in offered}) if wanted is not None else []
    if missing:
        names = [tool.name for tool in offered]
        raise ToolError(
            f"the MCP server “{server}” has no tool “{missing[0]}”",
            hint=did_you_mean(missing[0], names) or f"it has: {', '.join(names)}",
        )
    return [tool for tool in offered if wanted is None or tool.name in wanted]


def _add(tools: dict[str, Tool], tool: Tool, server: str = "") -> None:
    """Under its own name where that is free, else with its server's before it."""
    name = _sendable(tool.name)
    if name in tools and server:
        name = _sendable(f"{server}_{tool.name}")
    if name in tools:
        raise ToolError(f"two tools are called “{name}”", hint="leave one of them out")
    tools[name] = replace(tool, name=name)


def _sendable(name: str) -> str:
    """The name in characters that servers of the OpenAI protocol take."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:NAME_CHARACTERS] or "_"
