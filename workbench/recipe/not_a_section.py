"""A section of a recipe or study that was given a plain value: what would be right."""

from __future__ import annotations

from collections.abc import Iterable

from workbench.errors import RecipeError

NOT_A_SECTION = ("model_type", "model_attributes_type")
"""What pydantic calls it."""
SHOWN = 8  # keys in the hint; a section of the recipe has up to forty


def not_a_section(section: str, value: object, keys: Iterable[str], where: str) -> RecipeError:
    """The error of `section: value`, where `section` takes `keys`."""
    known = list(keys)
    shown = ", ".join(known[:SHOWN]) + (" …" if len(known) > SHOWN else "")
    return RecipeError(
        f"“{section}” takes keys, not the value {value!r}",
        where=where,
        hint=f"write {section}.{known[0]}=…; it knows {shown}" if known else "",
    )
