"""The grammar that a request's `response_format` asks for."""

from __future__ import annotations

from workbench.inference.engine.grammar import json_schema_grammar
from workbench.inference.engine.requests import RequestRefused
from workbench.inference.server.protocol import ResponseFormat


def grammar_of(wanted: ResponseFormat | None) -> str | None:
    """A grammar for llguidance, or None for free text. Raises `RequestRefused`."""
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return json_schema_grammar(None)
    if wanted.type == "json_schema":
        if wanted.json_schema is None or wanted.json_schema.json_schema is None:
            raise RequestRefused(
                "the schema is missing", where="response_format.json_schema", hint="give it as “schema”"
            )
        return json_schema_grammar(wanted.json_schema.json_schema)
    if wanted.type == "regex":
        if not wanted.regex:
            raise RequestRefused("the regular expression is missing", where="response_format.regex")
        return "start: ANSWER\nANSWER: /" + wanted.regex.replace("/", r"\/") + "/"
    if not wanted.grammar:
        raise RequestRefused("the grammar is missing", where="response_format.grammar")
    return wanted.grammar
