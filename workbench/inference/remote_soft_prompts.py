"""Soft prompts at a server: which there are, what they say, and a model with one of them. No torch.

A model with a soft prompt is asked as a model of its own, MODEL:NAME, so that a server which knows nothing of
it refuses, rather than answer without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import ServerError
from workbench.inference.client import Client, RemoteModel
from workbench.store.soft_prompts import read_saved

PLACE = "/v1/soft_prompts"
BETWEEN = ":"


@dataclass(frozen=True)
class SoftPromptInfo:
    """A soft prompt that a server has. `nearest` are the tokens that each virtual one lies next to, best
    first, with their cosines; None where it was not asked for, or there are none (keys and values)."""

    name: str
    kind: str = ""
    length: int = 0
    parameters: int | None = None
    folder: str = ""
    nearest: tuple[tuple[tuple[str, float], ...], ...] | None = None

    @property
    def about(self) -> str:
        """It in a line."""
        parts = [self.kind, f"{self.length:,} tokens" if self.length else ""]
        parts.append(f"{self.parameters:,} parameters" if self.parameters else "")
        return " · ".join(part for part in parts if part)


async def soft_prompts(client: Client) -> list[SoftPromptInfo]:
    """What can be chosen at a server. Raises `ServerError` where it knows no soft prompts."""
    told = await client.request("GET", PLACE)
    return [_info(one) for one in told.get("data") or ()]


async def described(client: Client, name: str) -> SoftPromptInfo:
    """One, with the tokens that are nearest to its vectors. Raises `ServerError`."""
    return _info(await client.request("GET", f"{PLACE}/{name}"))


async def with_soft_prompt(model: RemoteModel, word: str) -> RemoteModel:
    """The same model behind a soft prompt: a name that its server knows, or a folder, which it is to read.

    Raises `ServerError`.
    """
    folder = Path(word).expanduser()
    name = word
    if read_saved(folder, "") is not None:
        name, folder = name_of(folder), folder.resolve()
        await model.client.request("POST", PLACE, {"name": name, "folder": str(folder)})
    elif "/" in word:
        raise ServerError("there is no soft prompt in this folder", where=word, hint="PEFT saves one")
    return RemoteModel(model.client, f"{model.name}{BETWEEN}{name}")


def name_of(folder: Path) -> str:
    """What a soft prompt is called by its folder: a run's name for what it made."""
    folder = folder.resolve()
    return folder.parent.name if folder.name == "final" else folder.name


def _info(told: Mapping[str, Any]) -> SoftPromptInfo:
    nearest = told.get("nearest")
    return SoftPromptInfo(
        str(told.get("id") or ""),
        str(told.get("kind") or ""),
        int(told.get("length") or 0),
        told.get("parameters"),
        str(told.get("folder") or ""),
        None
        if nearest is None
        else tuple(tuple((str(one["token"]), float(one["cosine"])) for one in place) for place in nearest),
    )
