"""An MCP server with tools that do well, fail, die, wait and say odd things; `--http PORT` for HTTP."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp_types import EmbeddedResource, ImageContent, ResourceLink, TextContent, TextResourceContents

server = MCPServer("fake")


@server.tool()
def add(a: int, b: int) -> str:
    """Add two whole numbers."""
    return str(a + b)


@server.tool()
def environment(name: str) -> str:
    """A variable of the server's environment."""
    return os.environ.get(name, "not set")


@server.tool()
def fail() -> Any:
    """Fail, and say why."""
    from mcp_types import CallToolResult

    return CallToolResult(content=[TextContent(text="no such table [bold]x[/bold]")], is_error=True)


@server.tool()
def die() -> str:
    """End the server."""
    print("fatal: \x1b[31mout of cheese\x1b[0m", file=sys.stderr, flush=True)
    os._exit(3)


@server.tool()
async def wait(seconds: float) -> str:
    """Answer after a while."""
    await asyncio.sleep(seconds)
    return "done"


@server.tool(name="odd/name.1")
def odd_name() -> str:
    """A tool whose name the OpenAI protocol does not take."""
    return "odd"


@server.tool()
def calculator(expression: str) -> str:
    """A tool with the name of another."""
    return f"not computed: {expression}"


@server.tool()
def parts() -> Any:
    """Content of several kinds."""
    document = TextResourceContents(uri="file:///a.txt", text="inside")
    return [
        TextContent(text="\x1b[2J[red]one[/red]"),
        ImageContent(data="AAAA", mime_type="image/png"),
        ResourceLink(uri="file:///b.txt", name="b", title="Second"),
        EmbeddedResource(resource=document),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--http"]:
        server.run("streamable-http", port=int(sys.argv[2]))
    else:
        server.run()
