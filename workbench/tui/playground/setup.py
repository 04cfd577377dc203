"""What one column asks, and how: a model, a technique, how tokens are drawn. Plain values that go to disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

ChoiceKind = Literal["local", "server", "place"]
Specification: TypeAlias = "list[dict[str, Any]]"
"""A technique as `composition.build` takes it; an empty list is zero-shot."""

ALTERNATIVES = 5
MOST_SAMPLES, MOST_ALTERNATIVES = 64, 20


@dataclass(frozen=True)
class ModelChoice:
    """A model somewhere: of this machine (`model` a folder, hub name or GGUF file, an engine serves it), of a
    server in the user's list, or of a server at a URL or socket. `model` may be empty where a server has one.
    """

    kind: ChoiceKind
    model: str
    server: str = ""
    options: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """A short name."""
        if self.kind == "local":
            path = Path(self.model)
            return path.parent.name if path.name == "final" else path.name or self.model
        return self.model or self.server

    @property
    def options_words(self) -> str:
        """How its engine differs from one that is started without options: `dtype float32, threads 2`."""
        words = " ".join(self.options)
        return ", ".join(part.strip() for part in f" {words}".split(" --")[1:])

    @property
    def where(self) -> str:
        """Where it is, in a word."""
        return "this machine" if self.kind == "local" else self.server

    @classmethod
    def from_json(cls, value: object) -> ModelChoice | None:
        """What `asdict` made of one; None for anything else."""
        if not isinstance(value, Mapping) or value.get("kind") not in ("local", "server", "place"):
            return None
        texts = {name: str(value.get(name) or "") for name in ("model", "server")}
        options = value.get("options")
        words = tuple(map(str, options)) if isinstance(options, (list, tuple)) else ()
        return cls(value["kind"], **texts, options=words)


@dataclass(frozen=True)
class Setup:
    """How a column asks.

    `technique` and `sampling` are None and empty where the prompt decides; `sampling` holds what differs
    from the prompt's. `alternatives` is how many rivals of each token are reported, None for no
    probabilities; `approve` asks before every call of a tool.
    """

    model: ModelChoice | None = None
    technique: Specification | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    samples: int = 1
    alternatives: int | None = ALTERNATIVES
    approve: bool = True
    soft_prompt: str = ""
    """A soft prompt of the model, by its name or folder; it takes the place of a system message."""
    keeps_system: bool = False
    """Whether a system message is sent all the same."""

    @property
    def model_words(self) -> str:
        """The model, and what stands before its prompts."""
        if self.model is None:
            return "no model (m)"
        if not self.soft_prompt:
            return self.model.label
        path = Path(self.soft_prompt)
        name = path.parent.name if path.name == "final" else path.name
        return f"{self.model.label}:{name}" + (" + system" if self.keeps_system else "")

    @property
    def technique_words(self) -> str:
        """The technique's name, empty where the prompt decides."""
        return "" if self.technique is None else technique_name(self.technique)

    def in_words(self, technique: str = "") -> str:
        """It in a line; `technique` is the name of the one that is used where none was chosen."""
        name = self.technique_words or technique
        parts = [self.model_words]
        parts += [name] if name and name != "zero_shot" else []
        parts += [self.model.options_words] if self.model is not None and self.model.options else []
        parts += [f"{key} {_short(value)}" for key, value in self.sampling.items()]
        parts += [f"n {self.samples}"] if self.samples > 1 else []
        return " · ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> Setup:
        """What `as_json` made; what cannot be read is as by default."""
        known = value if isinstance(value, Mapping) else {}
        setup = cls(model=ModelChoice.from_json(known.get("model")))
        usual = cls()
        for entry in fields(cls)[1:]:
            given = known.get(entry.name, getattr(usual, entry.name))
            if _fits(entry.name, given):
                setup = replace(setup, **{entry.name: given})
        return setup


def technique_name(specification: Specification) -> str:
    """A specification in words: `rag+cot`."""
    return "+".join(name for part in specification for name in part) or "zero_shot"


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _fits(name: str, value: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    match name:
        case "soft_prompt":
            return isinstance(value, str)
        case "technique":
            parts = value if isinstance(value, list) else [None]
            return value is None or all(isinstance(part, dict) for part in parts)
        case "sampling":
            return isinstance(value, Mapping)
        case "samples":
            return whole and 1 <= value <= MOST_SAMPLES
        case "alternatives":
            return value is None or (whole and 0 <= value <= MOST_ALTERNATIVES)
    return isinstance(value, bool)
