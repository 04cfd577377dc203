"""From what a prompt or the user names to a toolbox: `calculator`, `{python: {seconds: 2}}`, `mcp:files`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from workbench.errors import PromptError
from workbench.inference.generation import Embedder
from workbench.prompting.tools.calculator import calculator
from workbench.prompting.tools.mcp_config import find_entries
from workbench.prompting.tools.mcp_server import McpServer
from workbench.prompting.tools.python import python
from workbench.prompting.tools.sandbox import SandboxLimits
from workbench.prompting.tools.search import PASSAGES, Searcher, search
from workbench.prompting.tools.tool import Tool
from workbench.prompting.tools.toolbox import Chosen, Toolbox
from workbench.prompting.validation import check, did_you_mean
from workbench.recipe.section import Section

Entry = str | dict[str, dict[str, Any] | None]
"""A name, a name with its only argument behind a colon, or a mapping from a name to settings."""


class NoSettings(Section):
    """A tool that needs none."""


class SearchSettings(Section):
    """What is searched."""

    collection: str = Field(..., min_length=1, description="The collection of documents, as it was ingested.")
    passages: int = Field(PASSAGES, ge=1, le=50, description="Passages of one search.")


class McpSettings(Section):
    """Which tools of which servers in mcp.json."""

    server: str = Field("", description="The server; empty for all that are not disabled.")
    tools: tuple[str, ...] | None = Field(None, description="Its tools that are wanted; all by default.")


SETTINGS: dict[str, type[Section]] = {
    "calculator": NoSettings,
    "python": SandboxLimits,
    "search": SearchSettings,
    "mcp": McpSettings,
}
SHORT = {"search": "collection", "mcp": "server"}
"""The setting that `NAME:VALUE` gives."""


def build_toolbox(specification: Iterable[Entry], embedder: Embedder | None = None) -> Toolbox:
    """The tools that are named, each with its settings.

    `embedder` helps the search tool. Raises `PromptError` for a tool there is not, `ToolError` for a server
    that is not in mcp.json, `DataError` for a collection, `MissingExtraError` for a package.
    """
    tools: list[Tool] = []
    servers: list[Chosen] = []
    for entry in specification:
        settings = read_entry(entry)
        if isinstance(settings, SandboxLimits):
            tools.append(python(settings))
        elif isinstance(settings, SearchSettings):
            tools.append(search(_collection(settings.collection, embedder), settings.passages))
        elif isinstance(settings, McpSettings):
            wanted = None if settings.tools is None else frozenset(settings.tools)
            found = find_entries([settings.server] if settings.server else None)
            servers += [(McpServer(name, found[name]), wanted) for name in found]
        else:
            tools.append(calculator())
    return Toolbox(tools, servers)


def read_entry(entry: Entry) -> Section:
    """The checked settings that an entry gives. Raises `PromptError`."""
    if isinstance(entry, str):
        name, colon, value = entry.partition(":")
        settings: Mapping[str, Any] | None = {SHORT.get(name, "name"): value} if colon else {}
    elif len(entry) == 1:
        [(name, settings)] = entry.items()
    else:
        raise PromptError(
            "a tool with settings is a mapping with one key",
            where=", ".join(entry),
            hint="write each tool as an item of its own: - python: {seconds: 2}",
        )
    if name not in SETTINGS:
        raise PromptError(
            f"there is no tool called “{name}”",
            hint=did_you_mean(name, SETTINGS) or f"known: {', '.join(SETTINGS)}",
        )
    return check(SETTINGS[name], settings or {}, f"tool “{name}”")


def _collection(name: str, embedder: Embedder | None) -> Searcher:
    from workbench.prompting.retrieval.collection import open_collection

    return open_collection(name, embedder)
