"""Techniques put together: `rag+cot+self_consistency`, or a list with settings, as one technique."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.errors import PromptError, RecipeError
from workbench.prompting.examine import examine
from workbench.prompting.technique import Outcome, Session, Task, Technique
from workbench.prompting.techniques import OUTERMOST_FIRST, READING_ORDER, TECHNIQUES
from workbench.prompting.validation import check, did_you_mean
from workbench.recipe import yaml_file
from workbench.recipe.section import Section

EXAMPLE = "for example rag+cot, or [rag, cot, {self_consistency: {samples: 16}}]"


@dataclass
class Composition:
    """Techniques as one; the outcomes have their answers, and are checked against the prompt's schema.

    `settings` are the parts' in full, by name, in the order of `name`; `parts` begin with the outermost.
    """

    name: str
    settings: Mapping[str, Section]
    parts: tuple[Technique, ...]

    async def run(self, task: Task, session: Session, samples: int = 1) -> list[Outcome]:
        """See `Technique`."""
        outcomes = await self.parts[0].run(task, session, samples)
        for chain, outcome in enumerate(outcomes):
            examine(outcome, task, session.trace, chain)
        return outcomes

    async def aclose(self) -> None:
        """Let go of what the parts hold open, such as servers of tools."""
        for part in self.parts:
            close = getattr(part, "aclose", None)
            if close is not None:
                await close()

    def specification(self) -> list[dict[str, Any]]:
        """What `build` makes the same composition from: each part with the settings that are not the usual
        ones, as plain JSON."""
        return [
            {name: section.model_dump(mode="json", exclude_defaults=True)}
            for name, section in self.settings.items()
        ]


def build(specification: Any = None) -> Composition:
    """A technique from its specification; zero-shot from none.

    A specification is a name, names joined by `+`, or a list of names and of mappings from a name to
    settings, as a value or as YAML. Their order does not matter. Raises `PromptError` for what is unknown
    or makes no sense together.
    """
    parts = parse(specification)
    classes = {name: TECHNIQUES[name].load() for name in parts}
    settings = {
        name: check(classes[name].Settings, parts[name], f"technique {name}")
        for name in READING_ORDER
        if name in parts
    }
    settings = _agreed(settings)
    asking = next((name for name in settings if TECHNIQUES[name].role == "asks"), "zero_shot")
    nested: list[Any] = [TECHNIQUES[asking].load()(settings.get(asking))]
    for name in reversed(OUTERMOST_FIRST):
        if name in settings and name != asking:
            nested.append(classes[name](settings[name], nested[-1]))
    return Composition("+".join(settings), settings, tuple(reversed(nested)))


def parse(specification: Any) -> dict[str, dict[str, Any]]:
    """The settings of each named part, not yet checked. Raises `PromptError`."""
    parts: dict[str, dict[str, Any]] = {}
    for item in _items(specification):
        for raw, settings in item.items() if isinstance(item, Mapping) else [(item, {})]:
            name = _known(raw)
            if name in parts:
                raise PromptError(
                    f"the technique {name} is named twice", hint="name it once, with its settings"
                )
            if not isinstance(settings, (Mapping, type(None))):
                raise PromptError(
                    f"the settings of {name} are a mapping, not {settings!r}",
                    hint=f"{{{name}: {{key: value}}}}",
                )
            parts[name] = dict(settings or {})
    _check_sense(parts)
    return parts or {"zero_shot": {}}


def _items(specification: Any) -> Sequence[Any]:
    if isinstance(specification, str):
        text = specification.strip()
        if not text.startswith(("[", "{")):
            return text.split("+") if text else []
        try:
            specification = yaml_file.parse(text, "technique")
        except RecipeError as error:
            raise PromptError(error.message, where=error.where, hint=EXAMPLE) from None
    if specification is None:
        return []
    if isinstance(specification, Mapping):
        return [specification]
    if isinstance(specification, Sequence):
        return specification
    raise PromptError(f"“{specification}” names no technique", hint=EXAMPLE)


def _known(raw: Any) -> str:
    name = raw.strip().replace("-", "_") if isinstance(raw, str) else ""
    if name not in TECHNIQUES:
        hint = did_you_mean(name, TECHNIQUES) or f"one of {', '.join(TECHNIQUES)}; {EXAMPLE}"
        raise PromptError(f"there is no technique “{raw}”", hint=hint)
    return name


def _check_sense(parts: Mapping[str, Any]) -> None:
    if "zero_shot" in parts and "few_shot" in parts:
        raise PromptError(
            "zero_shot and few_shot exclude each other: demonstrations are either shown or not",
            hint="leave out one of them",
        )
    if "zero_shot" in parts and "tools" in parts:
        raise PromptError(
            "zero_shot and tools both send the requests",
            hint="leave out zero_shot: tools alone has no examples",
        )


def _agreed(settings: dict[str, Any]) -> dict[str, Any]:
    """Few-shot and chain of thought settle between them who shows how to reason, where nobody said."""
    settings = dict(settings)
    cot, few = settings.get("cot"), settings.get("few_shot")
    if cot is not None and cot.method is None:
        shown = few is not None and few.rationales is not False
        cot = settings["cot"] = cot.model_copy(update={"method": "few_shot" if shown else "zero_shot"})
    if few is not None and few.rationales is None:
        shows = cot is not None and cot.method == "few_shot"
        settings["few_shot"] = few.model_copy(update={"rationales": shows})
    if cot is not None and cot.method == "few_shot" and (few is None or few.rationales is False):
        raise PromptError(
            "few-shot chain of thought needs demonstrations that reason",
            where="technique cot",
            hint="add few_shot with examples that have rationales, or method: zero_shot",
        )
    return settings
