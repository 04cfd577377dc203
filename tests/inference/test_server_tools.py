from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import openai
import pytest
from chat_templates import (
    CHATML,
    ELEMENTS,
    HERMES,
    LLAMA,
    MISTRAL,
    MISTRAL_TOKENS,
    QUOTED,
    TAG_TOKENS,
    TAGS,
)
from served import openai_client, service, serving

from workbench.inference.server.service import Service

FORMATS: dict[str, tuple[str, tuple[str, ...]]] = {
    "none": (CHATML, ()),
    "hermes": (HERMES, ()),
    "tags": (TAGS, TAG_TOKENS),
    "mistral": (MISTRAL, MISTRAL_TOKENS),
    "llama": (LLAMA, ()),
    "quoted": (QUOTED, ()),
    "elements": (ELEMENTS, ()),
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "add": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
    "now": {"type": "object", "properties": {}, "additionalProperties": False},
    "plan_trip": {
        "type": "object",
        "properties": {
            "kind": {"enum": ["train", "plane", None]},
            "stops": {"type": "array", "items": {"$ref": "#/$defs/place"}, "minItems": 1, "maxItems": 2},
            "note": {"type": "string", "maxLength": 12},
            "price": {"type": "number"},
        },
        "required": ["kind", "stops", "note"],
        "additionalProperties": False,
        "$defs": {
            "place": {
                "type": "object",
                "properties": {"name": {"type": "string", "maxLength": 8}, "sleep": {"type": "boolean"}},
                "required": ["name", "sleep"],
                "additionalProperties": False,
            }
        },
    },
}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": f"Tool {name}.", "parameters": schema}}
    for name, schema in SCHEMAS.items()
]
BARE_TOOL = {"type": "function", "function": {"name": "ping"}}
HI = [{"role": "user", "content": "hi"}]


@contextmanager
def opened(served: Service, folder: Path) -> Iterator[Any]:
    with serving(served, folder) as path, openai_client(path) as client:
        yield client


@pytest.fixture(scope="module", params=list(FORMATS))
def each(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of a server for each of the formats."""
    template, special = FORMATS[request.param]
    with opened(service(template, special=special), tmp_path_factory.mktemp("s")) as client:
        yield client


@pytest.fixture(scope="module")
def hermes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with opened(service(HERMES), tmp_path_factory.mktemp("s")) as client:
        yield client


def ask(client: Any, **settings: Any) -> Any:
    given = {"model": "tiny", "messages": HI, "tools": TOOLS, "max_tokens": 400, **settings}
    return client.chat.completions.create(**given)


def assert_fits(call: Any) -> None:
    schema = SCHEMAS[call.function.name]
    jsonschema.validate(json.loads(call.function.arguments), schema)


def assert_all_fit(answer: Any, *, finished: int) -> list[Any]:
    """All calls of all finished answers are valid, and at least so many finished; those calls."""
    done = [choice for choice in answer.choices if choice.finish_reason == "tool_calls"]
    assert len(done) >= finished
    calls = [call for choice in done for call in choice.message.tool_calls]
    for call in calls:
        assert_fits(call)
    return calls


def test_required_calls_are_valid_whatever_the_model_is_like(each: Any) -> None:
    answer = ask(each, tool_choice="required", n=16, seed=1, parallel_tool_calls=False)
    calls = assert_all_fit(answer, finished=8)
    assert len({call.function.name for call in calls}) > 1
    for choice in answer.choices:
        if choice.finish_reason == "tool_calls":
            assert choice.message.content is None
            assert len(choice.message.tool_calls) == 1


def test_strings_may_hold_quotes_and_line_ends(hermes: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"text": {"type": "string", "pattern": '^["\n\\\\]{6}$'}},
        "required": ["text"],
        "additionalProperties": False,
    }
    tool = {"type": "function", "function": {"name": "say", "parameters": schema}}
    answer = ask(hermes, tools=[tool], tool_choice="required", n=8, seed=2)
    texts = [
        json.loads(choice.message.tool_calls[0].function.arguments)["text"]
        for choice in answer.choices
        if choice.finish_reason == "tool_calls"
    ]
    assert texts
    assert all(set(text) <= set('"\n\\') and len(text) == 6 for text in texts)
    assert any("\n" in text and '"' in text for text in texts)


def test_a_named_tool_is_the_one_that_is_called(each: Any) -> None:
    choice = {"type": "function", "function": {"name": "add"}}
    answer = ask(each, tool_choice=choice, n=6, seed=3, parallel_tool_calls=False)
    calls = assert_all_fit(answer, finished=4)
    assert {call.function.name for call in calls} == {"add"}


def test_several_calls_may_be_made_only_where_that_is_allowed(hermes: Any) -> None:
    tools = [TOOLS[1]]
    many = ask(hermes, tools=tools, tool_choice="required", n=8, seed=4)
    one = ask(hermes, tools=tools, tool_choice="required", n=8, seed=4, parallel_tool_calls=False)
    assert any(len(choice.message.tool_calls) > 1 for choice in many.choices)
    assert all(len(choice.message.tool_calls) == 1 for choice in one.choices)
    assert all(call.function.arguments == "{}" for call in assert_all_fit(one, finished=8))


def test_a_model_that_calls_one_at_a_time_makes_one_call(tmp_path: Path) -> None:
    with opened(service(LLAMA), tmp_path) as client:
        answer = ask(client, tools=[TOOLS[1]], tool_choice="required", n=6, seed=4)
    assert [len(choice.message.tool_calls) for choice in answer.choices] == [1] * 6


def test_a_list_of_calls_is_whole_json(tmp_path: Path) -> None:
    with opened(service(MISTRAL, special=MISTRAL_TOKENS), tmp_path) as client:
        answer = ask(client, tools=[TOOLS[1]], tool_choice="required", n=8, seed=4)
    counts = [len(choice.message.tool_calls) for choice in answer.choices]
    assert_all_fit(answer, finished=8)
    assert max(counts) > 1
    for choice in answer.choices:
        assert all(len(call.id) == 9 for call in choice.message.tool_calls)


@pytest.mark.parametrize("name", ["tags", "mistral", "llama"])
def test_auto_lets_the_model_write_or_call(name: str, tmp_path: Path) -> None:
    template, special = FORMATS[name]
    served = service(template, special=special)
    begin = served.renderer.tool_format.begin.strip() or '{"'
    # The model is random: so that it calls at times, the tokens that calls begin with are made likely.
    first = served.renderer.tokens(begin, add_special_tokens=False)
    with opened(served, tmp_path) as client:
        free = ask(client, n=6, seed=5, max_tokens=60)
        bias = {str(token): 6 for token in first}
        one_add: dict[str, Any] = {"tools": [TOOLS[0]], "parallel_tool_calls": False}
        mixed = ask(client, n=12, seed=5, max_tokens=300, logit_bias=bias, **one_add)
    assert all(choice.message.content for choice in free.choices if not choice.message.tool_calls)
    assert_all_fit(mixed, finished=1)


@pytest.mark.parametrize("name", ["hermes", "tags", "mistral", "llama", "none"])
def test_streamed_calls_are_those_of_the_whole_answer(name: str, tmp_path: Path) -> None:
    template, special = FORMATS[name]
    with opened(service(template, special=special), tmp_path) as client:
        for choice in ("required", "auto"):
            settings = {"seed": 6, "n": 4, "max_tokens": 150, "tool_choice": choice}
            whole = ask(client, **settings)
            texts = [""] * 4
            calls: list[list[tuple[str, str]]] = [[], [], [], []]
            reasons: list[str | None] = [None] * 4
            for chunk in ask(client, stream=True, **settings):
                for piece in chunk.choices:
                    texts[piece.index] += piece.delta.content or ""
                    reasons[piece.index] = piece.finish_reason
                    for call in piece.delta.tool_calls or ():
                        assert call.index == len(calls[piece.index])
                        calls[piece.index].append((call.function.name, call.function.arguments))
            for one in whole.choices:
                made = one.message.tool_calls or []
                assert texts[one.index] == (one.message.content or "")
                assert calls[one.index] == [(call.function.name, call.function.arguments) for call in made]
                assert reasons[one.index] == one.finish_reason


def test_the_official_helper_puts_streamed_calls_together(hermes: Any) -> None:
    settings = {"model": "tiny", "messages": HI, "tools": TOOLS, "tool_choice": "required", "max_tokens": 400}
    with hermes.chat.completions.stream(**settings, seed=11, parallel_tool_calls=False) as stream:
        events = [event.type for event in stream]
        final = stream.get_final_completion()
    call = final.choices[0].message.tool_calls[0]
    assert "tool_calls.function.arguments.done" in events
    assert_fits(call)


def test_none_shows_the_tools_and_lets_nothing_be_called(hermes: Any) -> None:
    answer = ask(hermes, tool_choice="none", n=4, seed=7, max_tokens=40)
    assert all(choice.message.tool_calls is None for choice in answer.choices)


def test_a_function_without_parameters_is_called_with_none(hermes: Any) -> None:
    answer = ask(hermes, tools=[BARE_TOOL], tool_choice="required", n=2, seed=8, parallel_tool_calls=False)
    for choice in answer.choices:
        assert choice.message.tool_calls[0].function.name == "ping"
        assert json.loads(choice.message.tool_calls[0].function.arguments) == {}


def test_a_call_that_is_cut_off_says_so(hermes: Any) -> None:
    choice = {"type": "function", "function": {"name": "plan_trip"}}
    answer = ask(hermes, tool_choice=choice, max_tokens=70, seed=9).choices[0]
    assert answer.finish_reason == "length"
    assert answer.message.tool_calls[0].function.name == "plan_trip"
    with pytest.raises(ValueError):
        json.loads(answer.message.tool_calls[0].function.arguments)


def test_a_conversation_goes_on_after_a_call(each: Any) -> None:
    first = ask(each, tool_choice="required", seed=1, parallel_tool_calls=False, tools=[TOOLS[0]])
    message = first.choices[0].message
    call = message.tool_calls[0]
    messages = [
        *HI,
        message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "a\x1b[31m </tool_response> [b]"},
    ]
    again = ask(each, messages=messages, max_tokens=5, tools=[TOOLS[0]], seed=1)
    assert again.choices[0].finish_reason in ("length", "stop")


def test_a_malformed_call_can_be_sent_back(each: Any) -> None:
    broken = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1'}}
    messages = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [broken]},
        {"role": "tool", "tool_call_id": "call_1", "content": "the arguments are no JSON"},
    ]
    answer = ask(each, messages=messages, max_tokens=5, seed=1)
    assert answer.usage.completion_tokens <= 5


@pytest.mark.parametrize(
    ("settings", "words", "field"),
    [
        (
            {"tool_choice": {"type": "function", "function": {"name": "nope"}}},
            "no tool “nope”",
            "tool_choice",
        ),
        ({"tool_choice": "required", "tools": None}, "there are no tools", "tool_choice"),
        ({"tool_choice": "always"}, "tool_choice", None),
        ({"response_format": {"type": "json_object"}}, "both tools and a response_format", "tools"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "nope"}}}]},
            "cannot be used",
            "tools",
        ),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "at least 1", "tools.0.function.name"),
        ({"tools": [{"type": "retrieval"}]}, "tools.0", None),
    ],
)
def test_tools_that_make_no_sense_are_refused(
    hermes: Any, settings: dict[str, Any], words: str, field: str | None
) -> None:
    with pytest.raises(openai.BadRequestError, match=words) as raised:
        ask(hermes, **settings)
    if field is not None:
        assert raised.value.param == field
