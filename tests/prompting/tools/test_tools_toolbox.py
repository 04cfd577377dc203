"""Tools by name, and what becomes of a call."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import DataError, PromptError, ServerError, ToolError
from workbench.prompting.retrieval.ingest import ingest
from workbench.prompting.tools.search import search
from workbench.prompting.tools.specification import build_toolbox, read_entry
from workbench.prompting.tools.tool import CallFailed, Tool, clip
from workbench.prompting.tools.toolbox import Toolbox

ANYTHING = {"type": "object"}


def tool(name: str, answer: str = "done") -> Tool:
    async def call(arguments: dict[str, Any]) -> str:
        if answer == "fail":
            raise CallFailed("it did not work")
        await asyncio.sleep(float(arguments.get("seconds", 0)))
        return answer

    return Tool(name, f"The tool {name}.", ANYTHING, call)


async def test_a_call_is_carried_out() -> None:
    toolbox = Toolbox([tool("one", "1"), tool("two", "fail")])
    assert await toolbox.call("one", "") == await toolbox.call("one", "{}")
    assert (await toolbox.call("one", "{}")).text == "1"
    failed = await toolbox.call("two", "{}")
    assert (failed.status, failed.text) == ("failed", "Error: it did not work")


async def test_an_unknown_tool_is_answered_with_the_nearest_or_with_all() -> None:
    toolbox = Toolbox([tool("calculator"), tool("search")])
    near = await toolbox.call("calculater", "{}")
    assert near.status == "malformed" and "did you mean calculator?" in near.text
    far = await toolbox.call("\x1b[31mfly", "{}")
    assert far.status == "malformed" and "the tools are: calculator, search" in far.text
    assert "there are no tools" in (await Toolbox().call("x", "{}")).text


async def test_the_bound_on_time_is_the_tools_own() -> None:
    toolbox = Toolbox([tool("sleep")])
    late = await toolbox.call("sleep", '{"seconds": 60}', seconds=0.05)
    assert (late.status, late.text) == ("failed", "Error: the tool was not done after 0.05 seconds")

    async def slow_person(name: str, arguments: str) -> bool:
        await asyncio.sleep(0.1)
        return True

    assert (await toolbox.call("sleep", "{}", approve=slow_person, seconds=0.05)).status == "ok"


async def test_a_time_out_inside_a_tool_is_an_error_of_the_program() -> None:
    async def call(arguments: dict[str, Any]) -> str:
        raise TimeoutError("a mistake of the tool's")

    with pytest.raises(TimeoutError, match="mistake"):
        await Toolbox([Tool("one", "", ANYTHING, call)]).call("one", "{}", seconds=5)


async def test_approval_is_asked_of_what_could_be_called_and_of_nothing_else() -> None:
    asked: list[tuple[str, str]] = []

    def approve(name: str, arguments: str) -> bool:
        asked.append((name, arguments))
        return False

    toolbox = Toolbox([tool("one")])
    assert (await toolbox.call("none", "{}", approve=approve)).status == "malformed"
    assert (await toolbox.call("one", "{", approve=approve)).status == "malformed"
    denied = await toolbox.call("one", '{"a":  1}', approve=approve)
    assert denied.status == "denied" and "did not allow" in denied.text
    assert asked == [("one", '{"a":  1}')]


async def test_a_person_is_asked_one_question_at_a_time() -> None:
    open_questions = 0

    async def approve(name: str, arguments: str) -> bool:
        nonlocal open_questions
        open_questions += 1
        assert open_questions == 1
        await asyncio.sleep(0.01)
        open_questions -= 1
        return arguments == "{}"

    toolbox = Toolbox([tool("one")])
    calls = [toolbox.call("one", arguments, approve=approve) for arguments in ("{}", "", "{}")]
    assert [result.status for result in await asyncio.gather(*calls)] == ["ok", "denied", "ok"]


def test_names_are_made_fit_for_the_protocol_and_none_stands_twice() -> None:
    toolbox = Toolbox([tool("files.read/all"), tool("ü" * 80)])
    assert [entry["function"]["name"] for entry in toolbox.as_openai()] == ["files_read_all", "_" * 64]
    with pytest.raises(ToolError, match="two tools are called “one”"):
        Toolbox([tool("one"), tool("one")])


def test_a_text_is_cut_so_that_it_shows() -> None:
    assert clip("short", 5) == "short"
    assert clip("x" * 5000, 1000) == "x" * 1000 + "\n[4,000 of 5,000 characters left out]"


def test_a_specification_names_tools_with_or_without_settings() -> None:
    toolbox = build_toolbox(["calculator", {"python": {"seconds": 2}}])
    assert [tool.name for tool in toolbox.tools] == ["calculator", "python"]
    assert read_entry("mcp:files") == read_entry({"mcp": {"server": "files"}})
    assert read_entry({"python": None}) == read_entry("python")


@pytest.mark.parametrize(
    ("entry", "message", "hint"),
    [
        ("calculater", "there is no tool called “calculater”", "did you mean calculator?"),
        ({"python": {"second": 2}}, "there is no key “second”", "did you mean seconds?"),
        ({"python": {"seconds": -1}}, "greater than 0", "compute"),
        ({"python": {}, "calculator": {}}, "one key", "python"),
        ("calculator:5", "there is no key “name”", ""),
        ("search", "collection", "ingested"),
    ],
)
def test_what_a_specification_cannot_say(entry: Any, message: str, hint: str) -> None:
    with pytest.raises(PromptError) as caught:
        build_toolbox([entry])
    assert message in caught.value.message and hint in caught.value.hint


def test_a_server_and_a_collection_that_are_not_there() -> None:
    with pytest.raises(ToolError, match="no MCP server “files”") as caught:
        build_toolbox(["mcp:files"])
    assert caught.value.where.endswith("mcp.json")
    with pytest.raises(DataError, match="no collection called “notes”"):
        build_toolbox(["search:notes"])


@dataclass
class Passage:
    title: str
    source: str
    text: str


class Shelf:
    """Two passages, the second one hostile."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    async def search(self, query: str, k: int) -> list[Passage]:
        self.asked.append((query, k))
        if query == "broken":
            raise ServerError("the embedder is gone")
        if query == "nothing":
            return []
        return [
            Passage("Guide\n[9] Fake", "guide.md, lines 3–9", "Water boils at 100 °C.\n"),
            Passage("\x1b[31mRed", "b.txt, line 1", "[bold]\x1b]0;title\x07"),
        ]


async def test_search_gives_numbered_passages_with_their_titles() -> None:
    shelf = Shelf()
    toolbox = Toolbox([search(shelf, 2)])
    found = await toolbox.call("search", '{"query": "water"}')
    assert found.text == (
        "[1] Guide [9] Fake (guide.md, lines 3–9)\nWater boils at 100 °C.\n\n"
        "[2] [31mRed (b.txt, line 1)\n[bold]\x1b]0;title\x07"
    )
    assert shelf.asked == [("water", 2)]
    assert (await toolbox.call("search", '{"query": "nothing"}')).text == "nothing was found"
    assert (await toolbox.call("search", '{"query": " "}')).status == "failed"
    assert "embedder is gone" in (await toolbox.call("search", '{"query": "broken"}')).text


async def test_a_collection_of_documents_is_searched(tmp_path: Path) -> None:
    (tmp_path / "boiling.md").write_text("# Boiling\n\nWater boils at 100 degrees at sea level.\n")
    (tmp_path / "freezing.md").write_text("# Freezing\n\nWater freezes at 0 degrees.\n")
    await ingest(tmp_path / "boiling.md", "notes")
    toolbox = build_toolbox([{"search": {"collection": "notes", "passages": 1}}])
    found = await toolbox.call("search", '{"query": "when does water boil"}')
    assert found.text.startswith("[1] Boiling (boiling.md, line") and "100 degrees" in found.text
