from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import openai
import pydantic
import pytest
from served import openai_client, service, serving

from workbench.inference.server.service import Service

HI = [{"role": "user", "content": "hi"}]
ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["small", "large", 3, None]},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "maxItems": 2},
        "at": {"type": "string", "format": "date"},
        "code": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{3}$"},
        "by": {"anyOf": [{"type": "string", "maxLength": 5}, {"type": "null"}]},
    },
    "required": ["kind", "lines", "at", "code", "by"],
    "additionalProperties": False,
    "$defs": {
        "line": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 6},
                "count": {"type": "integer", "maximum": 99},
            },
            "required": ["name", "count"],
            "additionalProperties": False,
        }
    },
}


@pytest.fixture(scope="module")
def served() -> Service:
    return service()


@pytest.fixture(scope="module")
def client(served: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with serving(served, tmp_path_factory.mktemp("s")) as path, openai_client(path) as client:
        yield client


def ask(client: Any, wanted: dict[str, Any], **settings: Any) -> Any:
    given = {"model": "tiny", "messages": HI, "max_tokens": 500, "response_format": wanted, **settings}
    return client.chat.completions.create(**given)


def schema_format(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def finished(answer: Any, least: int) -> list[str]:
    texts = [choice.message.content for choice in answer.choices if choice.finish_reason == "stop"]
    assert len(texts) >= least
    return texts


def test_a_json_object_is_one(client: Any) -> None:
    for text in finished(ask(client, {"type": "json_object"}, n=16, seed=1), 4):
        assert isinstance(json.loads(text, strict=True), dict)


def test_an_answer_fits_its_schema(client: Any) -> None:
    texts = finished(ask(client, schema_format(ORDER), n=16, seed=2), 12)
    for text in texts:
        jsonschema.validate(json.loads(text), ORDER)
    assert len(set(texts)) == len(texts)


def test_a_stream_fits_as_well(client: Any) -> None:
    chunks = list(ask(client, schema_format(ORDER), seed=3, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    jsonschema.validate(json.loads(text), ORDER)


def test_a_schema_may_refer_to_itself(client: Any) -> None:
    tree = {
        "type": "object",
        "properties": {"leaf": {"type": "boolean"}, "more": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["leaf"],
        "additionalProperties": False,
    }
    for text in finished(ask(client, schema_format(tree), n=16, seed=4), 8):
        jsonschema.validate(json.loads(text), tree)


def test_the_official_helper_parses_into_a_model(client: Any) -> None:
    class Line(pydantic.BaseModel):
        name: str = pydantic.Field(max_length=5)
        count: int

    class Order(pydantic.BaseModel):
        first: Line
        is_gift: bool

    answer = client.chat.completions.parse(
        model="tiny", messages=HI, response_format=Order, max_tokens=500, seed=5
    )
    assert isinstance(answer.choices[0].message.parsed, Order)


def test_an_answer_that_is_cut_off_says_so(client: Any) -> None:
    answer = ask(client, schema_format(ORDER), max_tokens=8, seed=2).choices[0]
    assert answer.finish_reason == "length"
    with pytest.raises(ValueError):
        json.loads(answer.message.content)


def test_blanks_have_an_end(client: Any, served: Service) -> None:
    blanks = {str(token): 100 for token in served.renderer.tokens(" \n", add_special_tokens=False)}
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    # Also where the schema itself would have it otherwise.
    for given in (schema, {**schema, "x-guidance": {"whitespace_pattern": r"[ \n]*"}}):
        answer = ask(client, schema_format(given), logit_bias=blanks, seed=6).choices[0]
        assert answer.finish_reason == "stop"
        assert len(answer.message.content) > len('{"ok":true}') + 5
        jsonschema.validate(json.loads(answer.message.content), schema)


@pytest.mark.parametrize("expression", ["[0-9]{3}-[a-c]+(/|x)", r"a\/b{2,4}", "(yes|no)\n"])
def test_an_answer_matches_a_regular_expression(client: Any, expression: str) -> None:
    for text in finished(ask(client, {"type": "regex", "regex": expression}, n=8, seed=7), 4):
        assert re.fullmatch(expression, text)


def test_an_answer_follows_a_grammar(client: Any) -> None:
    grammar = 'start: "<" item ("," item)* ">"\nitem: /[a-z]{1,3}/'
    for text in finished(ask(client, {"type": "grammar", "grammar": grammar}, n=8, seed=8), 4):
        assert re.fullmatch(r"<[a-z]{1,3}(,[a-z]{1,3})*>", text)


def test_completions_can_be_constrained_too(client: Any) -> None:
    extra = {"response_format": {"type": "regex", "regex": "[01]{8}"}}
    answer = client.completions.create(model="tiny", prompt="the", max_tokens=20, seed=1, extra_body=extra)
    assert re.fullmatch("[01]{8}", answer.choices[0].text)
    assert answer.choices[0].finish_reason == "stop"


def test_text_is_no_constraint(client: Any) -> None:
    free = client.chat.completions.create(model="tiny", messages=HI, max_tokens=9, seed=1)
    text = ask(client, {"type": "text"}, max_tokens=9, seed=1)
    assert text.choices[0].message.content == free.choices[0].message.content


def test_logprobs_are_those_of_the_model_not_of_the_grammar(client: Any) -> None:
    answer = ask(client, {"type": "regex", "regex": "z"}, logprobs=True, top_logprobs=2, seed=1)
    entry = answer.choices[0].logprobs.content[0]
    assert entry.token == "z"
    assert entry.logprob < -1
    assert entry.top_logprobs[0].logprob > entry.logprob


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    ("wanted", "words", "field"),
    [
        (schema_format({"type": "nope"}), "nope", "response_format.json_schema.schema"),
        (schema_format({"$ref": "#/$defs/no"}), "cannot be used", "response_format.json_schema.schema"),
        (
            schema_format({"$ref": "http://example.org/x"}),
            "cannot be used",
            "response_format.json_schema.schema",
        ),
        (
            schema_format({"type": "string", "pattern": "("}),
            "cannot be used",
            "response_format.json_schema.schema",
        ),
        (schema_format({"enum": []}), "Unsatisfiable", "response_format.json_schema.schema"),
        (schema_format(nested(90)), "recursion limit", "response_format.json_schema.schema"),
        ({"type": "json_schema"}, "the schema is missing", "response_format.json_schema.schema"),
        ({"type": "regex", "regex": "("}, "cannot be used", "response_format.regex"),
        ({"type": "regex"}, "the regex is missing", "response_format.regex"),
        ({"type": "grammar", "grammar": "start: nope"}, "unknown name", "response_format.grammar"),
        ({"type": "grammar"}, "the grammar is missing", "response_format.grammar"),
        ({"type": "xml"}, "response_format.type", "response_format.type"),
    ],
)
def test_what_cannot_be_used_is_refused_and_named(
    client: Any, wanted: dict[str, Any], words: str, field: str
) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match=words) as raised:
            ask(client, wanted, stream=stream)
        assert raised.value.param == field


def test_a_grammar_is_read_once(client: Any, served: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    assert served.engine is not None
    grammars = served.engine._grammars
    read: list[str] = []
    original = grammars._read

    def counted(grammar: str) -> Any:
        read.append(grammar)
        return original(grammar)

    monkeypatch.setattr(grammars, "_read", counted)
    for _ in range(2):
        ask(client, {"type": "regex", "regex": "only [here]"}, n=4)
    assert len(read) == 1
    for number in range(70):
        served.engine.read_grammar(f"start: /x{number}/")
    ask(client, {"type": "regex", "regex": "only [here]"})
    assert len(read) == 72
