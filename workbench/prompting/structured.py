"""Structured output: a JSON schema as the protocol's `response_format`, and whether an answer fits it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from workbench.errors import PromptError

PROTOCOL_TYPES = ("text", "json_object", "json_schema")


def response_format_of(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The protocol's form of a plain JSON schema, or of what is in that form already.

    Raises `PromptError` for what is no JSON schema.
    """
    if value.get("type") in PROTOCOL_TYPES:
        schema = schema_in(value)
        wrapped = dict(value)
    else:
        schema = value
        safe = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "answer"
        wrapped = {
            "type": "json_schema",
            "json_schema": {"name": safe, "schema": dict(value), "strict": True},
        }
    if schema is None and value.get("type") == "json_schema":
        raise PromptError("a response_format of the type json_schema holds json_schema: {name, schema}")
    if schema is not None:
        _check_schema(schema)
    return wrapped


def schema_in(response_format: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The schema of a `response_format`, None where it has none."""
    inner = (response_format or {}).get("json_schema")
    schema = inner.get("schema") if isinstance(inner, Mapping) else None
    return schema if isinstance(schema, Mapping) else None


def problem(text: str, response_format: Mapping[str, Any]) -> str:
    """Why a text is not the JSON that was asked for, in a line; empty where it is."""
    if response_format.get("type") == "text":
        return ""
    try:
        value = json.loads(text)
    except RecursionError:
        return "it is nested too deeply"
    except ValueError as error:
        return f"it is not JSON: {error}"
    schema = schema_in(response_format)
    if schema is None:
        return "" if isinstance(value, dict) else f"it is a {_kind(value)}, not an object"
    return _misfit(value, schema)


def _check_schema(schema: Mapping[str, Any]) -> None:
    from jsonschema import Draft202012Validator, SchemaError, validators

    try:
        validators.validator_for(schema, default=Draft202012Validator).check_schema(dict(schema))
    except SchemaError as error:
        raise PromptError(
            f"this is no JSON schema: {error.json_path}: {error.message}",
            hint="a schema looks like {type: object, properties: {name: {type: string}}, required: [name]}",
        ) from None


def _misfit(value: Any, schema: Mapping[str, Any]) -> str:
    from jsonschema import Draft202012Validator, validators
    from jsonschema.exceptions import best_match
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    # A registry of its own, so that a schema's references are never fetched from the network.
    validator = validators.validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())
    try:
        error = best_match(validator.iter_errors(value))
    except (Unresolvable, RecursionError) as unresolved:
        return f"the schema cannot be followed: {unresolved}"
    return "" if error is None else f"{error.json_path}: {error.message}"


def _kind(value: Any) -> str:
    return {list: "list", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")
