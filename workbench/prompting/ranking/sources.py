"""Where the answers of a session come from: models of this machine, or of servers, under the names that the
leaderboard shows. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from workbench.errors import DataError, UsageError

SourceKind = Literal["local", "server", "place"]
KEY = "sources"
"""Where a session's settings hold them."""


@dataclass(frozen=True)
class ModelSource:
    """A model somewhere: of this machine (`model` a folder, GGUF file or hub name, which an engine started
    with `options` serves), of a server of `servers.yaml`, or of one at a URL or socket (`place`).

    `model` may be empty where a server has just one. Keys are never kept: `key_env` names the variable that
    holds it.
    """

    kind: SourceKind
    model: str
    server: str = ""
    options: tuple[str, ...] = ()
    key_env: str = ""

    @property
    def label(self) -> str:
        """A short name; a run's final model has the run's."""
        if self.kind != "local":
            return self.model or self.server
        path = Path(self.model)
        ours = path.name == "final" or path.name.startswith("checkpoint-")
        return (path.parent.name if ours else path.name) or self.model

    @property
    def full_label(self) -> str:
        """One that also tells it from the same model elsewhere, or otherwise run."""
        if self.kind != "local":
            return f"{self.server}/{self.model}" if self.model else self.server
        words = " ".join(self.options).replace("--", "")
        path = Path(self.model)
        if path.name.startswith("checkpoint-"):
            return f"{self.label}/{path.name}"
        return f"{self.label} ({words})" if words else self.model

    @property
    def where(self) -> str:
        """Its place, for people."""
        return self.model if self.kind == "local" else self.server


def named(sources: Sequence[ModelSource]) -> dict[str, ModelSource]:
    """The sources by the names they have in the session: short ones, as long as those tell them apart.

    Raises `UsageError` where one is named twice, or two cannot be told apart.
    """
    labels = [source.label for source in sources]
    found: dict[str, ModelSource] = {}
    for source in sources:
        twice = labels.count(source.label) > 1
        name = source.full_label if twice else source.label
        if source in found.values() or name in found:
            raise UsageError(
                f"the model “{name}” is named twice",
                where=source.where,
                hint="name it once, and ask for more answers of it (-n)",
            )
        found[name] = source
    return found


def as_settings(sources: Mapping[str, ModelSource]) -> dict[str, Any]:
    """Plain values for the settings of a session."""
    return {name: asdict(source) for name, source in sources.items()}


def of_settings(extra: Mapping[str, Any], names: Sequence[str]) -> dict[str, ModelSource]:
    """The sources that a session's settings hold. Raises `DataError` where they say of a model nothing."""
    known = extra.get(KEY)
    found = {}
    for name in names:
        try:
            value = dict(known[name])  # type: ignore[index]
            found[name] = ModelSource(**{**value, "options": tuple(value["options"])})
        except (TypeError, KeyError, ValueError):
            raise DataError(
                f"the session does not say where its model “{name}” is",
                hint="it was made by another program: make one with workbench rank new",
            ) from None
    return found
