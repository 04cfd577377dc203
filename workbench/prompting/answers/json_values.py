"""JSON in what a model writes: alone, in a fenced block, or between other words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_OPENING = re.compile(r"[{\[]")

MOST_TRIES = 1000
"""Opening brackets to try, so that a text full of them takes no time."""


def find_json(text: str) -> Any:
    """The text as a JSON value, else the last whole object in it, else the last whole list.

    Raises `ValueError` where there is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        found = list(_inside(text))
    objects = [value for value in found if isinstance(value, dict)]
    if not found:
        raise ValueError("no JSON")
    return (objects or found)[-1]


def _inside(text: str) -> Iterator[Any]:
    """Every object and list that is not inside another."""
    decoder, position = json.JSONDecoder(), 0
    for _ in range(MOST_TRIES):
        opening = _OPENING.search(text, position)
        if opening is None:
            return
        try:
            value, position = decoder.raw_decode(text, opening.start())
            yield value
        except (ValueError, RecursionError):
            position = opening.end()


def value_at(value: Any, field: str) -> Any:
    """What stands at a dotted path of keys and numbers, as in `items.0.name`. Raises `KeyError`."""
    for part in field.split(".") if field else ():
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise KeyError(part)
    return value


def as_text(value: Any) -> str:
    """A value as an answer: text as it is, everything else as JSON in one form."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
