"""The servers that the user has: what is in `servers.yaml`, and the engines that run here. No torch."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench import paths
from workbench.errors import ServerError

FILE = "servers.yaml"


@dataclass(frozen=True)
class Server:
    """Where an OpenAI-compatible server listens: a URL that ends in `/v1`, or a Unix socket."""

    name: str
    url: str = ""
    socket: Path | None = None
    key: str = ""

    @property
    def where(self) -> str:
        """Its place, for people; never its key."""
        return str(self.socket) if self.socket is not None else self.url


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    url: str | None = None
    socket: str | None = None
    key: str | None = None
    key_env: str | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    servers: list[_Entry] = []


def servers_path() -> Path:
    """The user's list of servers."""
    return paths.home() / FILE


def configured() -> list[Server]:
    """The servers in the user's list; none where there is no such file.

    Raises `ServerError` naming the entry that cannot be used.
    """
    import yaml

    path = servers_path()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise ServerError(f"the list of servers cannot be read: {error}", where=str(path)) from None
    example = "servers:\n  - {name: box, url: http://localhost:8000/v1, key_env: BOX_KEY}"
    try:
        content = _File.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        what = getattr(error, "problem", None) or "it cannot be read"
        raise ServerError(f"it is not YAML: {what}", where=f"{path}{line}", hint=example) from None
    except ValidationError as error:
        raise ServerError(_complaint(error), where=str(path), hint=example) from None
    servers = [_server(entry, path) for entry in content.servers]
    if twice := {server.name for server in servers if [one.name for one in servers].count(server.name) > 1}:
        raise ServerError(f"two servers are called “{min(twice)}”", where=str(path))
    return servers


def _complaint(error: ValidationError) -> str:
    worst = error.errors(include_url=False, include_input=False)[0]
    place, known = [str(part) for part in worst["loc"]], list(_Entry.model_fields)
    if worst["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], known if len(place) > 1 else ["servers"], n=1)
        meant = f"; did you mean “{near[0]}”?" if near else f"; there are {', '.join(known)}"
        return f"“{place[-1]}” is not known{meant}"
    return f"{'.'.join(place) or 'the file'}: {worst['msg']}"


def _server(entry: _Entry, path: Path) -> Server:
    if (entry.url is None) == (entry.socket is None):
        raise ServerError(f"“{entry.name}” needs either a url or a socket", where=str(path))
    key = entry.key or ""
    if entry.key_env:
        key = os.environ.get(entry.key_env, "")
        if not key:
            raise ServerError(
                f"“{entry.name}” wants its key from ${entry.key_env}, which is not set", where=str(path)
            )
    if entry.socket is not None:
        return Server(entry.name, socket=Path(entry.socket).expanduser(), key=key)
    url = (entry.url or "").rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise ServerError(
            f"“{entry.name}” has the url “{url}”",
            where=str(path),
            hint="it begins with http:// or https:// and mostly ends in /v1",
        )
    return Server(entry.name, url=url, key=key)


def server_at(place: str, key: str = "") -> Server:
    """The server at a URL or a socket that was named by hand."""
    if place.startswith(("http://", "https://")):
        return Server(place, url=place.rstrip("/"), key=key)
    return Server(place, socket=Path(place).expanduser(), key=key)
