"""The grammars that constrain an answer, checked before the request is taken."""

from __future__ import annotations

from workbench.inference.engine.grammar import json_schema_grammar, regex_grammar
from workbench.inference.engine.requests import RequestRefused
from workbench.inference.server.protocol import ResponseFormat
from workbench.inference.server.service import Service


def grammar_of(wanted: ResponseFormat | None, service: Service) -> str | None:
    """What a `response_format` asks for, as a grammar of llguidance, or None for free text.

    Raises `RequestRefused` naming the field.
    """
    if wanted is None or wanted.type == "text":
        return None
    where = "response_format"
    if wanted.type == "json_object":
        return checked(json_schema_grammar(None), service, where)
    if wanted.type == "json_schema":
        where += ".json_schema.schema"
        if wanted.json_schema is None or wanted.json_schema.json_schema is None:
            raise RequestRefused("the schema is missing", where=where, hint="give it as “schema”")
        try:
            grammar = json_schema_grammar(wanted.json_schema.json_schema)
        except RequestRefused as error:
            raise RequestRefused(error.message, where=where) from None
        return checked(grammar, service, where)
    where += f".{wanted.type}"
    given = wanted.regex if wanted.type == "regex" else wanted.grammar
    if not given:
        raise RequestRefused(f"the {wanted.type} is missing", where=where)
    return checked(regex_grammar(given) if wanted.type == "regex" else given, service, where)


def checked(grammar: str, service: Service, where: str) -> str:
    """The grammar, which the engine now has ready. Raises `RequestRefused` where it cannot be used."""
    try:
        service.writer().read_grammar(grammar)
    except RequestRefused as error:
        raise RequestRefused(error.message, where=where, hint=error.hint) from None
    return grammar
