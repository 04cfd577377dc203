"""A recipe being written: a preset, what is changed in it, and what is wrong with it so far.

Importing it imports pydantic; the form does so when it opens.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from workbench.errors import RecipeError
from workbench.recipe import Recipe, load_mapping, validate, yaml_file
from workbench.recipe.load import merge
from workbench.tui.form.draft import Draft, problem_words
from workbench.tui.form.schema import form_fields
from workbench.tui.form.text import to_override


class RecipeDraft(Draft):
    """The values of a recipe's form."""

    UNCHANGED = "preset:"

    def __init__(self, source: str, stem: str = "") -> None:
        """Start from a preset, by name or path. Raises `RecipeError` when it cannot be read."""
        self.source = source
        self.stem = stem or source.rpartition("/")[2].removesuffix(".yaml")
        mapping = merge(Recipe().model_dump(mode="json"), load_mapping(source))
        try:
            # A preset may write `sources: a.txt`; the form shows what that means.
            mapping = Recipe.model_validate(mapping).model_dump(mode="json")
        except ValidationError:
            validate_keys(mapping, source)
        super().__init__(mapping)

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Set fields by dotted key; keys that no field has are left out."""
        for field in form_fields():
            if field.key in values:
                self.set_value(field, values[field.key])

    @property
    def mapping(self) -> dict[str, Any]:
        """The whole recipe as a plain mapping."""
        result = deepcopy(self._base)
        for key, value in self._values.items():
            section, _, name = key.partition(".")
            result.setdefault(section, {})[name] = value
        return result

    def _find_problems(self) -> dict[str, str]:
        found = super()._find_problems()
        try:
            Recipe.model_validate(self.mapping)
        except ValidationError as error:
            for problem in error.errors(include_url=False):
                message = problem_words(problem["msg"])
                for key in _fields_meant([str(part) for part in problem["loc"]], message):
                    found.setdefault(key, message)
        return found

    @property
    def overrides(self) -> list[str]:
        """The changes as `section.key=value`."""
        return [to_override(key, value) for key, value in self._values.items()]

    @property
    def command_line(self) -> str:
        """The command that starts the same run."""
        return shlex.join(["workbench", "train", self.source, *self.overrides])

    def recipe(self) -> Recipe:
        """The finished recipe. Raises `RecipeError` when there are problems."""
        for message in self.problems.values():
            if self._bad_texts:
                raise RecipeError(message, where="the form")
        return validate(self.mapping, self.source)

    def forget_name(self) -> None:
        """Leave the name to be made up: the draft comes from a run that has it already."""
        self._problems = None
        if isinstance(self._base.get("run"), dict):
            self._values["run.name"] = None

    def yaml(self) -> str:
        """The whole recipe for an editor."""
        return yaml_file.write(self.mapping)

    def take_yaml(self, text: str) -> None:
        """Take over an edited recipe. Raises `RecipeError` with the line or key that is wrong."""
        mapping = yaml_file.parse(text, "the edited recipe")
        if mapping is not None and not isinstance(mapping, dict):
            raise RecipeError("a recipe is a mapping of sections", where="the edited recipe")
        recipe = validate(mapping or {}, "the edited recipe").model_dump(mode="json")
        for field in form_fields():
            self.set_value(field, recipe[field.section][field.name])


def validate_keys(mapping: dict[str, Any], where: str) -> None:
    """Refuse what a form cannot show: keys that no field has. Wrong values it can."""
    known = {field.key for field in form_fields()}
    for section, part in mapping.items():
        inner = part if isinstance(part, dict) else {}
        if section not in Recipe.model_fields or any(f"{section}.{name}" not in known for name in inner):
            validate(mapping, where)


def _fields_meant(location: list[str], message: str) -> list[str]:
    """The keys that a problem is about: its place, or the fields that its message names."""
    keys = [field.key for field in form_fields()]
    place = ".".join(location[:2])
    if place in keys:
        return [place]
    words = set(re.findall(r"[a-z_]+\.[a-z_]+|[a-z_0-9]+", message))
    near = [
        key
        for key in keys
        if key in words or (location[:1] == [key.partition(".")[0]] and key.partition(".")[2] in words)
    ]
    return near or [location[0] if location else "recipe"]
