"""A design as a preset file of the user's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from workbench import paths
from workbench.errors import UsageError
from workbench.recipe import Recipe, yaml_file
from workbench.recipe.families import COMMON_KEYS
from workbench.recipe.sections import RUN_NAME_PATTERN
from workbench.store.files import replace_file

NOT_DATA = ("sources", "eval_sources")


def preset_path(name: str) -> Path:
    """Where a model preset of this name is. Raises `UsageError` for what is no name."""
    if not re.match(RUN_NAME_PATTERN, name):
        raise UsageError(
            f"“{name}” cannot be the name of a preset",
            hint="letters, digits, dots, dashes and underscores, beginning with a letter or digit",
        )
    return paths.user_presets_dir() / "models" / f"{name}.yaml"


def preset_text(recipe: Recipe, parameters: int | None) -> str:
    """The model with its objective, and what of the data differs from the defaults, as YAML.

    The comment it opens with is the preset's description.
    """
    family = recipe.model.about
    count = f", {_count_words(parameters)} parameters" if parameters else ""
    values = recipe.model.model_dump(mode="json")
    keys = ("family", "tokenizer_name_or_path", *COMMON_KEYS, *family.keys)
    content: dict[str, Any] = {
        "model": {key: values[key] for key in keys if values[key] is not None},
        "objective": {"name": recipe.objective.name}
        | recipe.objective.model_dump(mode="json", exclude_defaults=True),
    }
    data = recipe.data.model_dump(mode="json", exclude_defaults=True)
    if kept := {key: value for key, value in data.items() if key not in NOT_DATA}:
        content["data"] = kept
    return f"# {family.title}, {family.kind}{count}.\n{yaml_file.write(content)}"


def save_preset(name: str, text: str) -> Path:
    """Write it, replacing one of the same name. Raises `StorageError` when the disk refuses."""
    path = preset_path(name)
    paths.ensure_dir(path.parent)
    replace_file(path, text.encode())
    return path


def _count_words(number: int) -> str:
    """12,800 · 4.1 million · 110 million · 1.3 billion."""
    for limit, unit in ((1e9, "billion"), (1e6, "million")):
        if number >= limit * 0.9995:
            scaled = number / limit
            return f"{scaled:.1f} {unit}" if scaled < 9.95 else f"{scaled:.0f} {unit}"
    return f"{number:,}"
