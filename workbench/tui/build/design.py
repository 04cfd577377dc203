"""What is being designed: the sizes that a draft says, right or wrong, in a form that can be drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workbench.errors import RecipeError
from workbench.recipe import ModelSection, Recipe
from workbench.recipe.families import FAMILIES, OBJECTIVES, Family
from workbench.tui.form.recipe_draft import RecipeDraft

DEFAULT_LENGTH = 2048
"""Tokens in a row where neither recipe nor model says less."""


@dataclass(frozen=True)
class Design:
    """A draft as numbers.

    `section` holds every size as it was typed, even where they do not go together, and the default where
    it was no number; `recipe` is there when nothing is wrong.
    """

    section: ModelSection
    family: Family
    objective: str
    length: int
    rows: int
    packing: bool
    isolate: bool
    recipe: Recipe | None
    problems: dict[str, str]

    @property
    def blocks_of_documents(self) -> bool:
        """Whether rows hold several documents that do not see each other."""
        return self.packing and self.isolate


def design_of(draft: RecipeDraft) -> Design:
    """The design that a draft describes so far."""
    mapping = draft.mapping
    values = _part(mapping, "model")
    kept: dict[str, Any] = {}
    for name, info in ModelSection.model_fields.items():
        default = info.get_default()
        value = values.get(name, default)
        kept[name] = value if _fits(value, default) else default
    if kept["family"] not in FAMILIES:
        kept["family"] = "llama"
    section = ModelSection.model_construct(**kept)
    objective = _part(mapping, "objective").get("name")
    data, training = _part(mapping, "data"), _part(mapping, "training")
    longest = section.context if section.rope_extension else min(section.context, DEFAULT_LENGTH)
    try:
        recipe = draft.recipe() if not draft.problems else None
    except RecipeError:
        recipe = None
    return Design(
        section,
        section.about,
        objective if objective in OBJECTIVES else section.about.objectives[0],
        _size(data.get("max_length"), longest),
        _size(training.get("per_device_train_batch_size"), 1),
        data.get("packing") is True,
        data.get("isolate_documents") is True,
        recipe,
        draft.problems,
    )


def _part(mapping: dict[str, Any], section: str) -> dict[str, Any]:
    part = mapping.get(section)
    return part if isinstance(part, dict) else {}


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _size(value: Any, otherwise: int) -> int:
    return int(value) if _is_size(value) else otherwise


def _fits(value: object, default: object) -> bool:
    """Whether a value can stand in for its default in arithmetic and in words."""
    if value is None:
        return default is None
    if isinstance(default, bool | str):
        return isinstance(value, type(default))
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    if isinstance(default, int):
        return _is_size(value)
    # Where the default is empty, sizes, shares and names may stand.
    return _is_size(value) or (isinstance(value, float) and value >= 0) or isinstance(value, str)
