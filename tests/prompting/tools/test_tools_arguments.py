"""Arguments as models write them, against schemas that may be anybody's."""

from __future__ import annotations

import http.server
import threading
import time
from typing import Any

import pytest

from workbench.prompting.tools.arguments import MAXIMUM_CHARACTERS, mismatch, read
from workbench.prompting.tools.tool import MalformedCall

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"query": {"type": "string"}, "count": {"type": "integer", "minimum": 1}},
    "required": ["query"],
    "additionalProperties": False,
}


def test_what_fits_comes_back_as_a_mapping() -> None:
    assert read('{"query": "a", "count": 2}', SCHEMA) == {"query": "a", "count": 2}
    assert read("", {"type": "object"}) == {} == read("  \n", {})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"query": "a"', "not valid JSON"),
        ("query=a", "not valid JSON"),
        ('{"query": NaN}', "not valid JSON"),
        ('{"query": ' + "9" * 5000 + "}", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('["a"]', "must be a JSON object, this is a list"),
        ('"{\\"query\\": 1}"', "must be a JSON object, this is a string"),
        ("null", "must be a JSON object, this is null"),
        ("{}", "'query' is a required property"),
        ('{"query": 3}', "query: 3 is not of type 'string'"),
        ('{"query": "a", "count": 0}', "count: 0 is less than the minimum of 1"),
        ('{"query": "a", "colour": "red"}', "'colour' was unexpected"),
        (" " * (MAXIMUM_CHARACTERS + 1), "characters"),
    ],
)
def test_what_does_not_is_told_to_the_model_in_few_words(text: str, reason: str) -> None:
    with pytest.raises(MalformedCall) as caught:
        read(text, SCHEMA)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 600


def test_regular_expressions_of_a_schema_are_not_tried() -> None:
    hostile = {"properties": {"query": {"pattern": "^(a+)+$"}}}
    began = time.monotonic()
    assert mismatch({"query": "a" * 60 + "!"}, hostile) == ""
    assert time.monotonic() - began < 1


def test_nothing_that_a_schema_refers_to_is_fetched() -> None:
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        reference = f"http://127.0.0.1:{server.server_port}/schema.json"
        assert mismatch({"query": "a"}, {"properties": {"query": {"$ref": reference}}}) == ""
        server.shutdown()
    assert asked == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"properties": {"query": {"$ref": "#/nowhere"}}},
        {"properties": {"query": {"$ref": "#/properties/query"}}},
        {"$ref": "#"},
        {"type": 3},
    ],
)
def test_a_schema_that_cannot_be_used_leaves_the_arguments_to_the_tool(schema: dict[str, Any]) -> None:
    assert read('{"query": "a"}', schema) == {"query": "a"}
