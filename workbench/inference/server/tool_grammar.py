"""Grammars that keep the calls of tools in form: the format's frame, a known name, arguments that fit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from workbench.inference.server.tool_format import ToolFormat

ELSEWHERE = ("$ref", "allOf", "anyOf", "oneOf", "patternProperties", "unevaluatedProperties")
AS_TEMPLATES_WRITE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def _text(piece: str, special: dict[str, int]) -> str:
    """A fixed text in Lark; special tokens in it by their number, for they are not spelt out."""
    parts, rest = [], piece
    while rest:
        places = [(place, token) for token in special if (place := rest.find(token)) >= 0]
        place, token = min(places, key=lambda found: (found[0], -len(found[1])), default=(len(rest), ""))
        if place:
            parts.append(json.dumps(rest[:place]))
        if token:
            parts.append(f"<[{special[token]}]>")
        rest = rest[place + len(token) :]
    return " ".join(parts)


def _arguments_schema(tool: dict[str, Any]) -> dict[str, Any]:
    """The schema of a tool's arguments, which are an object without keys that nobody asked for.

    Where a schema refers to others, what its keys are is not decided in one place, so more are let through.
    """
    schema = {"type": "object", **(tool["function"].get("parameters") or {"properties": {}})}
    if "properties" in schema and not any(word in schema for word in ELSEWHERE):
        schema.setdefault("additionalProperties", False)
    return {**schema, "x-guidance": AS_TEMPLATES_WRITE}


def calls_grammar(
    tools: Sequence[dict[str, Any]],
    form: ToolFormat,
    special: dict[str, int],
    *,
    required: bool,
    parallel: bool,
) -> str:
    """A grammar of answers: one or more calls where they are `required`, else text and perhaps calls at its
    end.

    `special` are the tokenizer's special tokens, by their text.
    """
    begin, end, between = (_text(piece, special) for piece in (form.begin, form.end, form.between))
    more = f"({between} one)*" if parallel and between else ""
    calls = f"{begin} one {more} {end}"
    lines = ["%llguidance {}"]
    trigger = form.begin.strip()
    if required:
        lines.append(f"start: {calls}")
    elif not trigger:
        lines.append("start: calls | TEXT?")
        lines.append(f"calls: {calls}")
        lines.append(r"TEXT: /[^{\[\s](.|\n)*/")
    else:
        # The frame's first words end the free text; from there on only a call fits.
        rest = _text(form.begin[form.begin.index(trigger) + len(trigger) :], special)
        lines.append("start: until calls | TEXT")
        if any(token in trigger for token in special):
            lines.append(f"until: TEXT {_text(trigger, special)}")
        else:
            lines.append(f"until[lazy]: TEXT {_text(trigger, special)}")
        lines.append(f"calls: {rest} one {more} {end}")
        lines.append(r"TEXT: /(.|\n)*/")
    lines.append("one: " + " | ".join(f"call_{place}" for place in range(len(tools))))
    for place, tool in enumerate(tools):
        name = json.dumps(tool["function"]["name"])
        frame = f"{{{json.dumps(form.name_key)}: {name}, {json.dumps(form.arguments_key)}: "
        # Each schema by itself, for its references point into itself.
        lines.append(f'call_{place}: {json.dumps(frame)} arguments_{place} "}}"')
        lines.append(f"arguments_{place}: %json {json.dumps(_arguments_schema(tool))}")
    return "\n".join(lines)
