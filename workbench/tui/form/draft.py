"""The values of a form while they are being changed. Importing it imports pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.errors import RecipeError
from workbench.tui.form.schema import FormField
from workbench.tui.form.text import to_text, to_value


class Draft:
    """Plain values by section, what was changed in them, and what is wrong so far.

    `base` is what they are where nothing is changed: a mapping of sections, each of values as they would
    stand in YAML. Whoever derives from it says in `_find_problems` what makes no sense.
    """

    UNCHANGED = "usually"
    """What stands before an unchanged value, in a word."""

    def __init__(self, base: Mapping[str, Any]) -> None:
        self._base: dict[str, Any] = dict(base)
        self._values: dict[str, Any] = {}
        self._bad_texts: dict[str, tuple[str, str]] = {}
        self._problems: dict[str, str] | None = None

    def value(self, field: FormField) -> Any:
        """The present value of a field."""
        return self._values.get(field.key, self.base_value(field))

    def base_value(self, field: FormField) -> Any:
        """What it is where nothing is changed."""
        section = self._base.get(field.section)
        return section.get(field.name) if isinstance(section, dict) else None

    def text(self, field: FormField) -> str:
        """The present value as one would type it, or the text that is no value yet."""
        if field.key in self._bad_texts:
            return self._bad_texts[field.key][0]
        return to_text(field, self.value(field))

    def base_text(self, field: FormField) -> str:
        """The unchanged value as one would type it."""
        return to_text(field, self.base_value(field))

    def set_text(self, field: FormField, text: str) -> None:
        """Take what was typed so far, right or wrong."""
        self._problems = None
        self._bad_texts.pop(field.key, None)
        try:
            self.set_value(field, to_value(field, text))
        except RecipeError as error:
            self._bad_texts[field.key] = (text, error.message)

    def set_value(self, field: FormField, value: Any) -> None:
        """Set a field; the value it has anyway is no change."""
        self._problems = None
        self._bad_texts.pop(field.key, None)
        base = self.base_value(field)
        same = value == base and isinstance(value, bool) == isinstance(base, bool)
        # `a.txt` and `[{path: a.txt, weight: 1}]` are the same sources.
        if same or (field.kind == "list" and to_text(field, value) == to_text(field, base)):
            self._values.pop(field.key, None)
        else:
            self._values[field.key] = value

    def unchanged_words(self, field: FormField) -> str:
        """What a field is where nothing is changed, in words; none where that goes without saying."""
        return f"{self.UNCHANGED} {self.base_text(field) or 'empty'}"

    @property
    def changes(self) -> dict[str, Any]:
        """What differs from the unchanged values, by dotted key."""
        return dict(self._values)

    def reset(self, field: FormField) -> None:
        """Undo what was changed in a field."""
        self._problems = None
        self._bad_texts.pop(field.key, None)
        self._values.pop(field.key, None)

    def changed(self, field: FormField) -> bool:
        """Whether a field is not as it was at first."""
        return field.key in self._values or field.key in self._bad_texts

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong, by dotted key; what concerns no single field stands under its section."""
        if self._problems is None:
            self._problems = self._find_problems()
        return self._problems

    def _find_problems(self) -> dict[str, str]:
        """What is wrong, those texts first that are no values yet."""
        return {key: message for key, (_, message) in self._bad_texts.items()}


def problem_words(message: str) -> str:
    """What pydantic says of a problem, as the form says it."""
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
