"""Checking a mapping against a section: what is wrong, where, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from workbench.errors import PromptError

S = TypeVar("S", bound=BaseModel)


class Invalid(PromptError):
    """A value that does not fit; `location` is the way to it: keys, and numbers in lists."""

    def __init__(self, message: str, location: tuple[str | int, ...], *, where: str, hint: str) -> None:
        super().__init__(message, where=where, hint=hint)
        self.location = location


def check(section: type[S], value: Any, where: str) -> S:
    """The section a value describes. Raises `Invalid`; an unknown key comes with the nearest known one."""
    try:
        return section.model_validate(value)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    # A wrong key is nearly always the cause of whatever else is reported.
    problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    first, rest = problems[0], len(problems) - 1
    location = first["loc"]
    inner, field = section_at(section, location)
    if first["type"] == "extra_forbidden":
        known = list(inner.model_fields)
        hint = did_you_mean(str(location[-1]), known) or f"known here: {', '.join(known)}"
        raise Invalid(f"there is no key “{location[-1]}” here", location, where=where, hint=hint)
    message = first["msg"].removeprefix("Value error, ")
    shown = "" if first["type"] in ("missing", "value_error") else f", not {_short(first['input'])}"
    dotted = ".".join(map(str, location))
    raise Invalid(
        f"{dotted + ': ' if dotted else ''}{message[0].lower() + message[1:]}{shown}"
        + (f" (and {rest} more)" if rest else ""),
        location,
        where=where,
        hint=(inner.model_fields[field].description or "") if field else "",
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question that names the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""


def section_at(section: type[BaseModel], location: Sequence[str | int]) -> tuple[type[BaseModel], str]:
    """The innermost section on the way to a location, and its field there ("" where it has none)."""
    field = ""
    for part in location:
        if isinstance(part, int):
            continue
        if field:
            section = _inside(section.model_fields[field].annotation) or section
        field = part if part in section.model_fields else ""
    return section, field


def _inside(annotation: Any) -> type[BaseModel] | None:
    """The section in `Section`, `Section | None`, `tuple[Section, …]` or `dict[str, Section]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_inside(part) for part in getattr(annotation, "__args__", ()))
    return next((found for found in inner if found is not None), None)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
