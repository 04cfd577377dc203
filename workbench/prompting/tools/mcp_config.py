"""Which MCP servers the user has: `mcp.json` in the workbench's home, as other programs write it.

{"mcpServers": {"files": {"command": "npx", "args": ["server-filesystem", "/data"], "env": {"A": "b"}},
                "wiki": {"url": "https://example.org/mcp", "headers": {"Authorization": "${TOKEN}"}}}}
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from workbench.errors import ToolError, storage_error
from workbench.paths import home
from workbench.prompting.validation import check, did_you_mean

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


class McpEntry(BaseModel):
    """How to reach one server; keys of other programs (`autoApprove`, …) are passed over."""

    model_config = ConfigDict(extra="ignore")

    type: str = Field("", description="stdio or http; told by command or url where it is not said.")
    command: str = Field("", description="The program that is started.")
    args: list[str] = Field([], description="Its arguments.")
    env: dict[str, str] = Field({}, description="Variables of its environment.")
    cwd: str = Field("", description="The folder it is started in.")
    url: str = Field("", description="Where a server answers over streamable HTTP.")
    headers: dict[str, str] = Field({}, description="Headers of every request to it.")
    disabled: bool = Field(False, description="Whether it is left out unless it is named.")

    @model_validator(mode="after")
    def _one_way(self) -> McpEntry:
        if bool(self.command) == bool(self.url):
            raise ValueError("a server has either a command or a url")
        known = ("", "stdio") if self.command else ("", "http", "streamable-http", "streamableHttp")
        if self.type not in known:
            raise ValueError(f"the type is {' or '.join(known[1:])} here, not {self.type}")
        return self

    def expanded(self, where: str) -> McpEntry:
        """The entry with `${NAME}` and `${NAME:-else}` from the environment; raises `ToolError`."""
        return self.model_copy(update=_expand(self.model_dump(), os.environ, where))


def config_path() -> Path:
    """The user's file."""
    return home() / "mcp.json"


def read_entries(path: Path | None = None) -> dict[str, McpEntry]:
    """All servers of the file by name, none when there is no file. Raises `ToolError`, `PromptError`."""
    path = path or config_path()
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise storage_error(error, path) from None
    except (ValueError, RecursionError) as error:
        raise ToolError(f"not valid JSON: {error}", where=str(path)) from None
    servers = content.get("mcpServers") if isinstance(content, dict) else None
    if not isinstance(servers, dict):
        raise ToolError(
            "this file names no servers",
            where=str(path),
            hint='write {"mcpServers": {"NAME": {"command": "…", "args": ["…"]}}}',
        )
    return {name: check(McpEntry, entry, f"{path}, server “{name}”") for name, entry in servers.items()}


def find_entries(names: list[str] | None = None, path: Path | None = None) -> dict[str, McpEntry]:
    """The servers of these names, or all that are not disabled. Raises `ToolError` for one not there."""
    entries = read_entries(path)
    if names is None:
        return {name: entry for name, entry in entries.items() if not entry.disabled}
    for name in names:
        if name not in entries:
            known = f"known: {', '.join(entries)}" if entries else "the file names none"
            raise ToolError(
                f"there is no MCP server “{name}”",
                where=str(path or config_path()),
                hint=did_you_mean(name, entries) or known,
            )
    return {name: entries[name] for name in names}


def _expand(value: Any, environment: Mapping[str, str], where: str) -> Any:
    if isinstance(value, dict):
        return {key: _expand(inner, environment, where) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expand(inner, environment, where) for inner in value]
    if not isinstance(value, str):
        return value

    def replacement(found: re.Match[str]) -> str:
        known = environment.get(found[1], found[2])
        if known is None:
            raise ToolError(f"the variable {found[1]} is not set", where=where, hint=f"export {found[1]}=…")
        return known

    return _VARIABLE.sub(replacement, value)
