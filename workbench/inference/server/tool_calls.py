"""The calls in what a model wrote, whole or not."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from workbench.inference.generation import ToolCall
from workbench.inference.server.tool_format import ToolFormat


def parse_calls(text: str, form: ToolFormat, names: Sequence[str]) -> tuple[str, list[ToolCall]]:
    """The text before any call, and the calls.

    Arguments are kept as they were written. A call that is no JSON is kept too, with its name if that can be
    read, so that whoever runs tools can tell the model.
    """
    begin = form.begin.strip()
    if begin:
        before, found, rest = text.partition(begin)
        if not found:
            return text, []
    elif text.lstrip().startswith(("{", "[")):
        before, rest = "", text
    else:
        return text, []
    calls = _calls_in(rest, form)
    if not begin and not any(call.name in names for call in calls):
        # JSON is also how such a model may answer a question.
        return text, []
    return before.rstrip(), calls or [_call("", rest.removesuffix(form.end).strip())]


def _call(name: str, arguments: str) -> ToolCall:
    # Nine letters and digits: what some templates insist on, and no other minds.
    return ToolCall(uuid4().hex[:9], name, arguments)


def _calls_in(text: str, form: ToolFormat) -> list[ToolCall]:
    calls, place, end = [], 0, form.end.strip()
    while (place := text.find("{", place)) >= 0:
        found = _read_object(text, place)
        name = _unquoted(found.values.get(form.name_key, ""))
        if found.is_whole:
            calls.append(_call(name, _unquoted(found.values.get(form.arguments_key, "{}"))))
            place = found.end
            continue
        # It began like a call and is none; after the format's end another may be whole.
        stop = text.find(end, found.end) if end else -1
        stop = len(text) if stop < 0 else stop
        start = found.end if name and found.key == form.arguments_key else place
        calls.append(_call(name if start != place else "", text[start:stop].strip()))
        place = stop
    return calls


@dataclass
class _Object:
    """A JSON object, read as far as it is one: its values as they were written, by their keys."""

    values: dict[str, str] = field(default_factory=dict)
    is_whole: bool = False
    key: str = ""
    """Of the value that was read last."""
    end: int = 0
    """Where it ends; where the value begins that could not be read if it is not whole."""


def _read_object(text: str, start: int) -> _Object:
    found = _Object(end=start + 1)
    place = _after_blanks(text, start + 1)
    found.is_whole, found.end = text[place : place + 1] == "}", place + 1
    while not found.is_whole:
        try:
            found.key, colon = _DECODER.raw_decode(text, place)
            colon = _after_blanks(text, colon)
            if text[colon : colon + 1] != ":" or not isinstance(found.key, str):
                return found
            found.end = _after_blanks(text, colon + 1)
            _, end = _DECODER.raw_decode(text, found.end)
        except (ValueError, RecursionError):
            return found
        found.values[found.key] = text[found.end : end]
        place = _after_blanks(text, end)
        sign = text[place : place + 1]
        if sign == "}":
            found.is_whole, found.end = True, place + 1
        elif sign != ",":
            return found
        place = _after_blanks(text, place + 1)
    return found


def _after_blanks(text: str, place: int) -> int:
    match = _BLANKS.match(text, place)
    return match.end() if match is not None else place


def _unquoted(value: str) -> str:
    """A value as text: what is in a string, anything else as it was written."""
    return str(_DECODER.decode(value)) if value.startswith('"') else value


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


_BLANKS = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_number, strict=False)
"""Takes line ends in strings, which small models write. Numbers stay text, for they may have any length."""
