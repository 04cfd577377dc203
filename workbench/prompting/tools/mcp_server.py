"""Tools of an MCP server: a program that is started, or an address that answers over HTTP."""

from __future__ import annotations

import asyncio
import importlib
import logging
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench.errors import MissingExtraError, ToolError, WorkbenchError
from workbench.installing import pip_install_extra
from workbench.prompting.tools.last_words import LastWords, one_line
from workbench.prompting.tools.mcp_config import McpEntry, config_path
from workbench.prompting.tools.mcp_content import as_text
from workbench.prompting.tools.tool import CallFailed, Tool

if TYPE_CHECKING:
    from mcp.client.client import Client

CONNECT_SECONDS = 60.0
CALL_SECONDS = 120.0
CLOSING_SECONDS = 10.0
PAGES = 100


class McpServer:
    """Reached when it is first needed, and again after it was lost. Belongs to one event loop."""

    def __init__(
        self,
        name: str,
        entry: McpEntry,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self.name = name
        self.entry = entry
        self.connect_seconds = connect_seconds
        self.call_seconds = call_seconds
        self._connection: _Connection | None = None
        self._turn = asyncio.Lock()

    async def tools(self) -> list[Tool]:
        """What the server offers now. Raises `ToolError`, `MissingExtraError`."""
        connection = await self._connected()
        tools: list[Tool] = []
        cursor = None
        try:
            async with asyncio.timeout(self.connect_seconds):
                for _ in range(PAGES):
                    page = await connection.client.list_tools(cursor=cursor)
                    for tool in page.tools:
                        call = partial(self._call, tool.name)
                        about = tool.description or tool.title or ""
                        tools.append(Tool(tool.name, about, tool.input_schema, call, f"MCP: {self.name}"))
                    cursor = page.next_cursor
                    if cursor is None:
                        break
        except Exception as error:
            await self.aclose()
            raise self._problem("does not list its tools", error, connection) from None
        return tools

    async def aclose(self) -> None:
        """Leave the server; one that was started is ended. A later call reaches it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _call(self, tool: str, arguments: dict[str, Any]) -> str:
        """What the server answers; every way in which it may fail is a `CallFailed`."""
        from mcp import MCPError
        from mcp_types import CONNECTION_CLOSED, INVALID_REQUEST, PARSE_ERROR, REQUEST_TIMEOUT
        from pydantic import ValidationError

        try:
            connection = await self._connected()
        except WorkbenchError as error:
            raise CallFailed(f"{error.message} ({error.where})") from None
        try:
            result = await connection.client.call_tool(
                tool, arguments, read_timeout_seconds=self.call_seconds
            )
        except MCPError as error:
            if error.code == REQUEST_TIMEOUT:
                raise CallFailed(f"the server did not answer in {self.call_seconds:g} seconds") from None
            if error.code not in (CONNECTION_CLOSED, INVALID_REQUEST, PARSE_ERROR):
                raise CallFailed(error.message) from None
            raise await self._lost(connection, error) from None
        except (RuntimeError, ValidationError) as error:
            raise CallFailed(f"the server's answer cannot be used: {error}") from None
        except Exception as error:
            # Whatever the transport raises comes through the client as it is.
            raise await self._lost(connection, error) from None
        if result.is_error:
            raise CallFailed(as_text(result) or "the tool failed and did not say why")
        return as_text(result)

    async def _connected(self) -> _Connection:
        async with self._turn:
            connection = self._connection
            if connection is None or connection.is_over:
                self._connection = None
                connection = _Connection(self.name, self.entry)
                try:
                    await connection.open(self.connect_seconds)
                except Exception as error:
                    raise self._problem("cannot be used", error, connection) from None
                self._connection = connection
            return connection

    async def _lost(self, connection: _Connection, error: Exception) -> CallFailed:
        """What is said of a call during which the server went away; the next one reaches it anew."""
        if self._connection is connection:
            self._connection = None
        await connection.close()
        heard = connection.heard()
        wrote = f"\nIt last wrote:\n{heard}" if heard else ""
        return CallFailed(f"the server “{one_line(self.name)}” was lost: {_reason(error)}{wrote}")

    def _problem(self, what: str, error: Exception, connection: _Connection) -> WorkbenchError:
        if isinstance(error, WorkbenchError):
            return error
        reason = _reason(error)
        if isinstance(error, TimeoutError):
            reason = f"no answer in {self.connect_seconds:g} seconds"
        return ToolError(
            f"the MCP server “{one_line(self.name)}” {what}: {reason}",
            where=connection.heard() or self.entry.command or self.entry.url,
            hint=f"its entry is in {config_path()}",
        )


class _Connection:
    """A client and the task that owns it: the SDK's task groups must end where they began."""

    client: Client

    def __init__(self, name: str, entry: McpEntry) -> None:
        self.name = name
        self.entry = entry
        self.last_words: LastWords | None = None
        self._ready = asyncio.Event()
        self._enough = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None

    @property
    def is_over(self) -> bool:
        """Whether it takes no more calls."""
        return self._owner is None or self._owner.done()

    async def open(self, seconds: float) -> None:
        """Start or reach the server, and agree with it on a protocol."""
        owner = self._owner = asyncio.create_task(self._own(), name=f"MCP server {self.name}")
        # A server that is lost between two calls shows in the next; asyncio need not print it.
        owner.add_done_callback(lambda task: task.cancelled() or task.exception())
        ready = asyncio.create_task(self._ready.wait())
        either: set[asyncio.Future[Any]] = {owner, ready}
        try:
            done, _ = await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            await self.close()
            raise
        finally:
            ready.cancel()
        if owner in done:
            owner.result()
        elif not done:
            await self.close()
            raise TimeoutError

    async def close(self) -> None:
        """Leave, and wait until the server is ended, if it was started."""
        owner = self._owner
        if owner is None:
            return
        self._enough.set()
        if not self._ready.is_set():
            owner.cancel()
        _, still = await asyncio.wait({owner}, timeout=CLOSING_SECONDS)
        for task in still:
            task.cancel()
        # What it ended with was told when it mattered.
        await asyncio.gather(owner, return_exceptions=True)

    def heard(self) -> str:
        """The last lines on the server's standard error."""
        return self.last_words.text() if self.last_words else ""

    async def _own(self) -> None:
        entry = self.entry.expanded(f"{config_path()}, server “{self.name}”")
        await _load()
        from mcp.client.client import Client

        async with AsyncExitStack() as stack:
            transport = self._program(entry, stack) if entry.command else await _address(entry, stack)
            self.client = await stack.enter_async_context(Client(transport, cache=None))
            self._ready.set()
            await self._enough.wait()

    def _program(self, entry: McpEntry, stack: AsyncExitStack) -> Any:
        from mcp import StdioServerParameters, stdio_client

        self.last_words = stack.enter_context(LastWords())
        parameters = StdioServerParameters(
            command=entry.command,
            args=entry.args,
            env=entry.env,
            cwd=entry.cwd or None,
            encoding_error_handler="replace",
        )
        return stdio_client(parameters, errlog=self.last_words.file)


async def _address(entry: McpEntry, stack: AsyncExitStack) -> Any:
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    timeout = httpx2.Timeout(30.0, read=300.0)
    http = await stack.enter_async_context(httpx2.AsyncClient(headers=entry.headers, timeout=timeout))
    return streamable_http_client(entry.url, http_client=http)


async def _load() -> None:
    """Import the SDK, which takes a second, beside the event loop."""
    try:
        await asyncio.to_thread(importlib.import_module, "mcp")
    except ModuleNotFoundError:
        raise MissingExtraError(
            "tools of MCP servers need a package that is not installed",
            where="mcp",
            hint=pip_install_extra("tools"),
        ) from None
    # Without a handler, Python writes the SDK's warnings over whatever the terminal shows.
    for name in ("mcp", "client"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


def _reason(error: BaseException) -> str:
    """The innermost cause in one line; task groups wrap what their tasks raise."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, FileNotFoundError):
        return f"there is no program “{one_line(str(error.filename))}”"
    return one_line(str(error)) or type(error).__name__
