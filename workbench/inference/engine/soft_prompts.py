"""The soft prompts on a model that runs: chosen by name, request by request.

A request keeps what it was taken with, so one that is removed while it is in use goes with its last request.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workbench.errors import ModelError
from workbench.inference.engine.placed_prefix import PlacedPrefix
from workbench.inference.engine.requests import RequestRefused
from workbench.inference.engine.runner import Runner
from workbench.inference.loading.soft_prompt import SoftPrompt

FIELD = "soft_prompt"


class UnknownSoftPrompt(RequestRefused):
    """A name that no soft prompt has."""


@dataclass(frozen=True)
class Entry:
    """A soft prompt that requests may choose; what is in it, and how the runner holds it."""

    name: str
    soft_prompt: SoftPrompt
    prefix: PlacedPrefix[Any]


class SoftPrompts:
    """By name. Read from any thread; changed on the engine's."""

    def __init__(
        self, runner: Runner[Any, Any], memory: int, on_engine: Callable[[Callable[[], Any]], Any]
    ) -> None:
        """They share `memory` bytes with the keys and values of requests; `on_engine` has a piece of work
        done where the model may be used."""
        self._runner = runner
        self._memory = memory
        self._on_engine = on_engine
        self._entries: dict[str, Entry] = {}

    def every(self) -> list[Entry]:
        """All, in the order of their names."""
        return sorted(self._entries.copy().values(), key=lambda entry: entry.name)

    def placed(self) -> list[PlacedPrefix[Any]]:
        """What takes memory for requests to come; one that stands before every prompt, too."""
        fixed = self._runner.prefix
        kept = [entry.prefix for entry in self._entries.copy().values()]
        return kept if fixed is None else [fixed, *kept]

    def get(self, name: str) -> Entry:
        """The one of this name. Raises `UnknownSoftPrompt` with the names there are."""
        entry = self._entries.get(name)
        if entry is None:
            raise unknown(name, list(self._entries))
        return entry

    def add(self, name: str, soft_prompt: SoftPrompt) -> Entry:
        """Let requests choose one; what has become of it in the same folder takes its place.

        Raises `ModelError` where it does not fit the model or the memory, and where one from elsewhere has
        that name; the same one twice is no error.
        """

        def work() -> Entry:
            known = self._entries.get(name)
            if known is not None and known.soft_prompt.where != soft_prompt.where:
                if known.soft_prompt.key == soft_prompt.key:
                    return known
                raise ModelError(
                    f"there is another soft prompt called “{name}”, from {known.soft_prompt.where}",
                    where=soft_prompt.where,
                    hint="remove that one first, or give this one another name",
                )
            if known is not None and known.soft_prompt.changed == soft_prompt.changed:
                return known
            prefix = self._runner.place(soft_prompt)
            kept = sum(other.bytes for other in self.placed())
            if kept + prefix.bytes >= self._memory:
                raise ModelError(
                    f"the soft prompt takes {_mib(prefix.bytes)} of keys and values; there are "
                    f"{_mib(self._memory)}, of which other soft prompts take {_mib(kept)}",
                    where=soft_prompt.where,
                    hint="start the engine with more --kv-memory, or remove one",
                )
            self._entries[name] = entry = Entry(name, soft_prompt, prefix)
            return entry

        entry: Entry = self._on_engine(work)
        return entry

    def remove(self, name: str) -> Entry:
        """Let no further request choose one. Raises `UnknownSoftPrompt`."""

        def work() -> Entry:
            entry = self.get(name)
            del self._entries[name]
            return entry

        entry: Entry = self._on_engine(work)
        return entry


def unknown(name: str, names: list[str]) -> UnknownSoftPrompt:
    """The error for a name that no soft prompt has."""
    near = difflib.get_close_matches(name, names, n=1)
    there = f"there are {', '.join(sorted(names))}" if names else "this engine has none"
    return UnknownSoftPrompt(
        f"there is no soft prompt “{name}”",
        where=FIELD,
        hint=f"did you mean {near[0]}? {there}" if near else there,
    )


def _mib(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"
