"""MCP servers: started or reached, used, lost, silent, and never trusted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from own_children import children

from workbench.errors import PromptError, ToolError
from workbench.prompting.tools.calculator import calculator
from workbench.prompting.tools.mcp_config import McpEntry, config_path, find_entries, read_entries
from workbench.prompting.tools.mcp_server import McpServer
from workbench.prompting.tools.specification import build_toolbox
from workbench.prompting.tools.toolbox import Toolbox


def program(code: str) -> McpEntry:
    """A server that is this Python program."""
    return McpEntry(command=sys.executable, args=["-c", code])


async def problem(entry: McpEntry, seconds: float = 20) -> ToolError:
    """Why a server cannot be used."""
    with pytest.raises(ToolError) as caught:
        await McpServer("bad", entry, connect_seconds=seconds).tools()
    return caught.value


@pytest.fixture(autouse=True)
def _no_server_is_left() -> Iterator[None]:
    yield
    assert children() == []


async def test_a_server_that_is_started(fake_server: McpEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "do not tell")
    server = McpServer("fake", fake_server, call_seconds=1.0)
    async with Toolbox([calculator()], [(server, None)]) as toolbox:
        tools = {tool.name: tool for tool in toolbox.tools}
        assert tools["add"].description == "Add two whole numbers." and tools["add"].source == "MCP: fake"
        assert {"odd_name_1", "fake_calculator", "calculator"} <= set(tools)
        assert (await toolbox.call("add", '{"a": 2, "b": 3}')).text == "5"
        wrong = await toolbox.call("add", '{"a": "two", "b": 3}')
        assert wrong.status == "malformed" and "'two' is not of type 'integer'" in wrong.text
        assert (await toolbox.call("odd_name_1", "")).text == "odd"
        assert (await toolbox.call("calculator", '{"expression": "1+1"}')).text == "2"
        assert (await toolbox.call("fake_calculator", '{"expression": "1"}')).text == "not computed: 1"

        assert (await toolbox.call("environment", '{"name": "CANARY"}')).text == "sings"
        assert (await toolbox.call("environment", '{"name": "SECRET_KEY"}')).text == "not set"

        failed = await toolbox.call("fail", "{}")
        assert (failed.status, failed.text) == ("failed", "Error: no such table [bold]x[/bold]")
        parts = await toolbox.call("parts", "{}")
        assert parts.text == (
            "\x1b[2J[red]one[/red]\n[image, image/png, 3 bytes]\n"
            "[resource file:///b.txt Second]\n[resource file:///a.txt]\ninside"
        )

        late = await toolbox.call("wait", '{"seconds": 30}')
        assert late.status == "failed" and "did not answer in 1 seconds" in late.text
        five = (toolbox.call("wait", '{"seconds": 0.5}') for _ in range(5))
        began = time.monotonic()
        assert [result.text for result in await asyncio.gather(*five)] == ["done"] * 5
        assert time.monotonic() - began < 2, "calls run at the same time"


async def test_a_server_that_dies_is_told_to_the_model_and_started_again(fake_server: McpEntry) -> None:
    server = McpServer("fake", fake_server)
    async with Toolbox([], [(server, frozenset({"add", "die", "wait"}))]) as toolbox:
        assert [tool.name for tool in toolbox.tools] == ["add", "die", "wait"]
        dead = await toolbox.call("die", "{}")
        assert dead.status == "failed" and "“fake” was lost" in dead.text
        assert "fatal: [31mout of cheese" in dead.text and "\x1b" not in dead.text
        assert (await toolbox.call("add", '{"a": 1, "b": 1}')).text == "2"

        [process] = children()
        waiting = asyncio.create_task(toolbox.call("wait", '{"seconds": 30}'))
        await asyncio.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
        assert "was lost" in (await waiting).text
        assert (await toolbox.call("add", '{"a": 1, "b": 2}')).text == "3"


async def test_a_tool_that_is_wanted_and_not_there(fake_server: McpEntry) -> None:
    server = McpServer("fake", fake_server)
    with pytest.raises(ToolError, match="has no tool “ad”") as caught:
        await Toolbox([], [(server, frozenset({"ad"}))]).open()
    assert caught.value.hint == "did you mean add?"
    await server.aclose()


async def test_a_program_that_is_not_there() -> None:
    error = await problem(McpEntry(command="/no/such/server"))
    assert "there is no program “/no/such/server”" in error.message and "mcp.json" in error.hint


async def test_a_program_that_ends_at_once_is_quoted() -> None:
    code = "import sys; print('hello'); sys.exit('\\x1b]0;title\\x07cannot find [red]the key')"
    error = await problem(program(code))
    assert "cannot be used" in error.message
    assert "cannot find [red]the key" in error.where and "\x1b" not in error.render()


async def test_a_program_that_talks_garbage_is_given_up() -> None:
    flood = "while True: print('{\"garbage\": ' * 20, flush=True)"
    began = time.monotonic()
    error = await problem(program(flood), seconds=1.0)
    assert "no answer in 1 seconds" in error.message and time.monotonic() - began < 12


async def test_a_program_that_answers_something_else() -> None:
    echo = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
    assert "cannot be used" in (await problem(program(echo))).message


async def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = await problem(McpEntry(url=f"http://127.0.0.1:{port}/mcp"))
    assert "cannot be used" in error.message and str(port) in error.where


async def test_headers_go_to_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = b""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard = await reader.readuntil(b"\r\n\r\n")
        writer.close()

    monkeypatch.setenv("TOKEN", "t0ken")
    async with await asyncio.start_server(listen, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        headers = {"Authorization": "Bearer ${TOKEN}"}
        await problem(McpEntry(url=f"http://127.0.0.1:{port}/mcp", headers=headers))
    assert b"authorization: bearer t0ken" in heard.lower()


async def test_being_cancelled_while_a_server_starts_leaves_nothing() -> None:
    opening = asyncio.create_task(McpServer("slow", program("import time; time.sleep(60)")).tools())
    while not children():
        await asyncio.sleep(0.02)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
def http_server(fake_server: McpEntry) -> Iterator[Callable[[], McpEntry]]:
    """Starts the server on one and the same port, again after it was ended."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    started: list[subprocess.Popen[bytes]] = []

    def start() -> McpEntry:
        for process in started:
            process.kill()
            process.wait()
        command = [fake_server.command, *fake_server.args, "--http", str(port)]
        quiet = subprocess.DEVNULL
        started.append(subprocess.Popen(command, stdout=quiet, stderr=quiet))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return McpEntry(url=f"http://127.0.0.1:{port}/mcp", headers={"X-Key": "k"})
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the server did not start")

    yield start
    for process in started:
        process.kill()
        process.wait()


async def test_a_server_over_http_and_one_that_was_started_anew(
    http_server: Callable[[], McpEntry],
) -> None:
    server = McpServer("web", http_server())
    async with Toolbox([], [(server, None)]) as toolbox:
        assert (await toolbox.call("add", '{"a": 2, "b": 3}')).text == "5"
        await asyncio.to_thread(http_server)
        texts = [(await toolbox.call("add", '{"a": 2, "b": 4}')).text for _ in range(2)]
        assert texts[-1] == "6", texts


def write(content: Any) -> None:
    config_path().parent.mkdir(parents=True, exist_ok=True)
    config_path().write_text(content if isinstance(content, str) else json.dumps(content))


def test_servers_are_read_from_the_file_as_other_programs_write_it(home: Path) -> None:
    assert read_entries() == {}
    files = {"command": "npx", "args": ["-y", "server", "/data"], "env": {"A": "b"}, "autoApprove": ["x"]}
    wiki = {"type": "http", "url": "https://example.org/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}}
    write(
        {"mcpServers": {"files": files, "wiki": wiki, "old": {"command": "x", "disabled": True}}, "other": 1}
    )
    assert config_path() == home / "mcp.json"
    entries = read_entries()
    assert entries["files"].args == ["-y", "server", "/data"] and entries["wiki"].url.endswith("/mcp")
    assert list(find_entries()) == ["files", "wiki"] and list(find_entries(["old"])) == ["old"]


def test_variables_of_the_environment_are_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "t$1")
    entry = McpEntry(
        command="${HOME}/run", args=["${NOT_SET_HERE:-else}", "$TOKEN"], env={"KEY": "a${TOKEN}b"}
    )
    filled = entry.expanded("here")
    assert filled.command == f"{os.environ['HOME']}/run"
    assert filled.args == ["else", "$TOKEN"] and filled.env == {"KEY": "at$1b"}
    with pytest.raises(ToolError, match="the variable NOT_SET_HERE is not set") as caught:
        McpEntry(url="https://${NOT_SET_HERE}/").expanded("here")
    assert caught.value.where == "here"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ([], "names no servers"),
        ({"servers": {}}, "names no servers"),
        ({"mcpServers": {"a": {"args": []}}}, "either a command or a url"),
        ({"mcpServers": {"a": {"command": "x", "url": "y"}}}, "either a command or a url"),
        ({"mcpServers": {"a": {"url": "y", "type": "sse"}}}, "not sse"),
        ({"mcpServers": {"a": {"command": 3}}}, "command"),
        ({"mcpServers": {"a": "x"}}, "dictionary"),
    ],
)
def test_a_file_that_cannot_be_used_says_what_is_wrong_and_where(content: Any, message: str) -> None:
    write(content)
    with pytest.raises((ToolError, PromptError)) as caught:
        read_entries()
    assert message in caught.value.message and str(config_path()) in caught.value.where


async def test_a_specification_takes_servers_by_name(fake_server: McpEntry) -> None:
    write({"mcpServers": {"fake": fake_server.model_dump(exclude_defaults=True)}})
    with pytest.raises(ToolError, match="no MCP server “fakes”") as caught:
        build_toolbox(["mcp:fakes"])
    assert caught.value.hint == "did you mean fake?"
    async with build_toolbox(["calculator", {"mcp": {"server": "fake", "tools": ["add"]}}]) as toolbox:
        assert [tool.name for tool in toolbox.tools] == ["calculator", "add"]
