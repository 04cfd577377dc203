"""Checking the arguments a model wrote against a tool's JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from workbench.prompting.tools.tool import MalformedCall, clip

MAXIMUM_CHARACTERS = 200_000
QUOTED_CHARACTERS = 200


def read(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as a mapping that fits the schema; raises `MalformedCall`.

    No text at all is an empty mapping: that is how some models call a tool that takes nothing.
    """
    if len(text) > MAXIMUM_CHARACTERS:
        raise MalformedCall(f"the arguments have {len(text):,} characters, at most {MAXIMUM_CHARACTERS:,} do")
    try:
        # Infinity and NaN are no JSON, and no server would take them on.
        arguments = json.loads(text, parse_constant=_refuse) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        quoted = clip(text, QUOTED_CHARACTERS)
        raise MalformedCall(f"the arguments are not valid JSON ({error}): {quoted}") from None
    if not isinstance(arguments, dict):
        raise MalformedCall(f"the arguments must be a JSON object, this is {_kind(arguments)}")
    problem = mismatch(arguments, schema)
    if problem:
        raise MalformedCall(problem)
    return arguments


def mismatch(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """How the arguments do not fit the schema, in one sentence; empty where they fit.

    Regular expressions in the schema are not tried: they are someone else's, the text is the model's, and
    together they can take for ever. Nor is anything fetched that a schema refers to. A schema that cannot
    be used says nothing, which leaves the arguments to the tool.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, UnknownType, best_match
    from jsonschema.validators import extend
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    untried = dict.fromkeys(("pattern", "patternProperties"), _accept)
    validator = extend(Draft202012Validator, untried)
    try:
        Draft202012Validator.check_schema(schema)
        error = best_match(validator(schema, registry=Registry()).iter_errors(arguments))
    except (SchemaError, UnknownType, Unresolvable, RecursionError):
        return ""
    if error is None:
        return ""
    place = ".".join(str(part) for part in error.absolute_path)
    return clip(f"{place}: {error.message}" if place else str(error.message), 2 * QUOTED_CHARACTERS)


def _accept(*_: object) -> None:
    """Says nothing against a value."""


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _kind(value: object) -> str:
    names = {list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")
