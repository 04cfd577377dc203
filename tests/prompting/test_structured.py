"""JSON schemas as the protocol has them, and answers that do and do not fit."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.errors import PromptError
from workbench.prompting.structured import problem, response_format_of, schema_in

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
}


def test_a_plain_schema_is_wrapped_for_the_protocol() -> None:
    wrapped = response_format_of(PERSON, "my prompt")
    assert wrapped == {
        "type": "json_schema",
        "json_schema": {"name": "my_prompt", "schema": PERSON, "strict": True},
    }
    assert response_format_of(wrapped, "x") == wrapped
    assert schema_in(wrapped) == PERSON
    assert response_format_of({"type": "json_object"}, "x") == {"type": "json_object"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"type": "objekt"}, "no JSON schema.*objekt"),
        ({"type": "object", "required": "name"}, "no JSON schema"),
        ({"type": "json_schema"}, "holds json_schema"),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": 3}}}, "no JSON schema"),
    ],
)
def test_what_is_no_schema_is_refused(value: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        response_format_of(value, "x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": "Ada", "age": 36}', ""),
        ('{"name": "Ada", "age": "36"}', "$.age: '36' is not of type 'integer'"),
        ('{"name": "Ada"}', "$: 'age' is a required property"),
        ('{"name": "Ada", "age": -1}', "$.age: -1 is less than the minimum of 0"),
        ('```json\n{"name": "Ada", "age": 36}\n```', "it is not JSON"),
        ("", "it is not JSON"),
        ("[" * 100_000, "it is nested too deeply"),
    ],
)
def test_answers_are_held_against_the_schema(text: str, expected: str) -> None:
    found = problem(text, response_format_of(PERSON, "x"))
    assert found.startswith(expected) if expected else found == ""


def test_a_json_object_is_asked_for_without_a_schema() -> None:
    assert problem("{}", {"type": "json_object"}) == ""
    assert problem("[1]", {"type": "json_object"}) == "it is a list, not an object"
    assert problem("anything", {"type": "text"}) == ""


def test_references_are_not_fetched() -> None:
    schema = {"$ref": "http://127.0.0.1:9/schema.json"}
    assert "cannot be followed" in problem("{}", response_format_of(schema, "x"))
