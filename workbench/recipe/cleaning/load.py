"""From a preset's name or path, and overrides, to a checked recipe of cleaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from workbench.recipe.cleaning.recipe import CleaningRecipe
from workbench.recipe.load import apply_override, explain, load_mapping, merge

PRESETS = "cleaning"
"""The folder of presets."""


def load_cleaning(name: str, overrides: Sequence[str] = ()) -> CleaningRecipe:
    """The recipe of a preset (name or path) with overrides. Raises `RecipeError` with the nearest known
    key."""
    return complete_cleaning(read_cleaning(name), overrides, name)


def read_cleaning(name: str) -> dict[str, Any]:
    """What a preset (name or path) says, not yet checked. Raises `RecipeError` where there is none."""
    return load_mapping(name, within=(PRESETS,))


def complete_cleaning(
    given: dict[str, Any], overrides: Sequence[str], where: str, sources: Sequence[dict[str, Any]] = ()
) -> CleaningRecipe:
    """The recipe that a mapping gives with overrides; `sources` are cleaned where it names none. Raises
    `RecipeError`."""
    if isinstance(given.get("executor"), str):
        given = {**given, "executor": {"kind": given["executor"]}}
    default = merge(_defaults(), {"data": {"sources": list(sources)}}) if sources else _defaults()
    mapping = merge(default, given)
    for override in overrides:
        key, _, value = override.partition("=")
        if key.strip() == "executor":
            override = f"executor.kind={value}"
        apply_override(mapping, override, CleaningRecipe)
    return validate_cleaning(mapping, where)


def _defaults() -> dict[str, Any]:
    # Beneath what is given, so that an override can reach into what the preset does not mention.
    return CleaningRecipe().model_dump(mode="json")


def validate_cleaning(mapping: dict[str, Any], where: str) -> CleaningRecipe:
    """Check a mapping against the sections. Raises `RecipeError`."""
    filled = {
        key: {} if value is None and key in CleaningRecipe.model_fields else value
        for key, value in mapping.items()
    }
    try:
        return CleaningRecipe.model_validate(filled)
    except ValidationError as error:
        raise explain(error, where, CleaningRecipe) from None
