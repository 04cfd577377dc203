"""Between the value of a field and the text that a person types. Importing it imports pydantic."""

from __future__ import annotations

import json
from typing import Any

from workbench.errors import RecipeError
from workbench.recipe import yaml_file
from workbench.tui.form.schema import FormField


def to_text(field: FormField, value: Any) -> str:
    """A value as one would type it; `to_value` reads it back."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list):
        items = [_short_item(field, item) for item in value]
        plain = all(isinstance(item, str) and _is_plain_item(item) for item in items)
        return ", ".join(items) if plain else json.dumps(items, ensure_ascii=False)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def to_value(field: FormField, text: str) -> Any:
    """What a text says. Text that is no such value is kept as text, for the recipe to refuse.

    Raises `RecipeError` when it is not even YAML.
    """
    bare = text.strip()
    if field.kind in ("text", "choice"):
        return None if field.optional and not bare else text
    if not bare:
        return [] if field.kind == "list" else None if field.optional else ""
    if field.kind == "list" and not bare.startswith(("[", "{")):
        return [item.strip() for item in bare.split(",") if item.strip()]
    return yaml_file.parse(bare, field.key)


def to_override(key: str, value: Any) -> str:
    """`section.key=value` as the command line reads it back."""
    if isinstance(value, str):
        plain = value.strip() == value and value.isprintable() and value and _reads_as_itself(value)
        text = value if plain else json.dumps(value, ensure_ascii=False)
    elif isinstance(value, float):
        text = f"{value:g}" if float(f"{value:g}") == value else repr(value)
    else:
        text = json.dumps(value, ensure_ascii=False)
    return f"{key}={text}"


def _short_item(field: FormField, item: Any) -> Any:
    """An item of a list of sections without what is as by default; a lone first key as its value."""
    if field.item is None or not isinstance(item, dict):
        return item
    kept = {
        key: value
        for key, value in item.items()
        if key not in field.item.model_fields or field.item.model_fields[key].get_default() != value
    }
    first = next(iter(field.item.model_fields))
    return kept[first] if list(kept) == [first] else kept


def _is_plain_item(item: str) -> bool:
    return bool(item) and item.strip() == item and "," not in item and not item.startswith(("[", "{"))


def _reads_as_itself(text: str) -> bool:
    try:
        return bool(yaml_file.parse(text, "") == text)
    except RecipeError:
        return False
