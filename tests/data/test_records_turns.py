"""Conversations and completions of all shapes, brought into one; and what is no conversation."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.data.records.reading import Record
from workbench.data.records.side import input_hash
from workbench.data.records.texts import BlankText
from workbench.data.records.turns import sft
from workbench.errors import DataError

USER = {"role": "user", "content": "2+2?"}
SAID = {"role": "assistant", "content": "4"}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2, "b": 2}'}}


def checked(**values: Any) -> dict[str, Any]:
    return sft(Record(values, "talks.jsonl:3"))


def test_texts_stay_texts() -> None:
    assert checked(prompt="2+2?", completion="4") == {"prompt": "2+2?", "completion": "4"}


@pytest.mark.parametrize(
    "values",
    [
        {"prompt": [USER], "completion": [SAID]},
        {"prompt": "2+2?", "completion": [SAID]},
        {"prompt": [USER], "completion": "4"},
    ],
)
def test_prompts_and_completions_of_messages(values: dict[str, Any]) -> None:
    assert checked(**values) == {"messages": [USER, SAID], "first": 1, "tools": []}


def test_a_conversation_is_predicted_from_its_beginning() -> None:
    assert checked(messages=[USER, SAID])["first"] == 0


def test_what_tables_fill_up_is_taken_away_and_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "2+"}, {"type": "text", "text": "2?"}]
    messages = [{**USER, "content": parts, "tool_calls": None, "name": None}, {**SAID, "tool_calls": []}]
    assert checked(messages=messages)["messages"] == [USER, SAID]


def test_calls_have_arguments_that_templates_can_read() -> None:
    tool = {"type": "function", "function": {"name": "add"}}
    calls = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    found = checked(messages=[USER, calls, {"role": "tool", "content": "4"}, SAID], tools='[{"x": 1}]')
    assert found["tools"] == [{"x": 1}]
    assert found["messages"][1]["content"] == ""
    assert found["messages"][1]["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": {"a": 2, "b": 2}}}
    ]
    bare = {**calls, "tool_calls": [{"name": "add", "arguments": {"a": 1}}]}
    (made,) = checked(messages=[USER, bare], tools=[tool])["messages"][1]["tool_calls"]
    assert made == {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}


def test_a_question_with_several_answers_is_one_input() -> None:
    other = {"role": "assistant", "content": "four"}
    asked = {"role": "user", "content": "3+3?"}
    alike = [checked(messages=[USER, SAID, asked, SAID]), checked(messages=[USER, other])]
    alike.append(checked(prompt=[USER], completion=[other]))
    assert len({input_hash(record) for record in alike}) == 1
    later = checked(prompt=[USER, SAID, asked], completion=[SAID])
    assert len({input_hash(record) for record in (alike[0], checked(messages=[asked, SAID]), later)}) == 3


@pytest.mark.parametrize(
    "values",
    [
        {"messages": [USER]},
        {"messages": [USER, {"role": "assistant", "content": " "}]},
        {"prompt": [USER, SAID], "completion": [USER]},
        {"prompt": " ", "completion": "4"},
    ],
)
def test_records_without_an_answer_are_blank(values: dict[str, Any]) -> None:
    with pytest.raises(BlankText):
        checked(**values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"messages": "hello"}, "holds a string, not messages"),
        ({"messages": [USER, "4"]}, "message 2 is a string"),
        ({"messages": [USER, {"role": "bot", "content": "4"}]}, "message 2 is from “bot”"),
        ({"messages": [{"content": "4"}]}, "message 1 is from “nobody”"),
        ({"messages": [{"role": "user", "content": 4}]}, "content of message 1 is a number"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "image": "x"}]}, SAID]},
            "message 1 holds other parts than texts",
        ),
        ({"messages": [{**SAID, "tool_calls": ["x"]}]}, "message 1 calls something that is no tool"),
        (
            {"messages": [{**SAID, "tool_calls": [{"name": "f", "arguments": "{"}]}]},
            "arguments of “f” in message 1 are no JSON",
        ),
        ({"messages": [USER, SAID], "tools": "["}, "“tools” is no JSON"),
        ({"messages": [USER, SAID], "tools": {"a": 1}}, "“tools” holds an? .*, not a list"),
        ({"prompt": "a", "completion": 3}, "holds a number, not text"),
    ],
)
def test_what_is_no_conversation_is_told_with_its_place(values: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        checked(**values)
    assert caught.value.where == "talks.jsonl:3"
