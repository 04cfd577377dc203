from __future__ import annotations

from typing import Any

import pytest
from chat_templates import (
    CHATML,
    ELEMENTS,
    HERMES,
    LLAMA,
    MISTRAL,
    MISTRAL_TOKENS,
    NO_SYSTEM,
    QUOTED,
    TAG_TOKENS,
    TAGS,
)
from served import byte_tokenizer

from workbench.inference.engine.requests import RequestRefused
from workbench.inference.server.rendering import Renderer
from workbench.inference.server.tool_format import COMMON, ToolFormat, detect

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}


def renderer(template: str, special: tuple[str, ...] = ()) -> Renderer:
    return Renderer(byte_tokenizer(template, special))


def call(name: str, arguments: str, identity: str = "call_abcdefgh") -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"arguments": arguments, "name": name}}


def conversation(*calls: dict[str, Any], result: str = "3") -> list[dict[str, Any]]:
    results = [{"role": "tool", "tool_call_id": one["id"], "content": result} for one in calls]
    return [
        {"role": "user", "content": "How much is it?"},
        {"role": "assistant", "content": None, "tool_calls": list(calls)},
        *results,
    ]


@pytest.mark.parametrize(
    ("template", "special", "expected"),
    [
        (
            HERMES,
            (),
            ToolFormat(
                "\n<tool_call>\n",
                "\n</tool_call>",
                "\n</tool_call>\n<tool_call>\n",
                "name",
                "arguments",
                True,
            ),
        ),
        (
            TAGS,
            TAG_TOKENS,
            ToolFormat("<|call|>", "<|/call|>", "<|/call|><|call|>", "name", "arguments", True),
        ),
        (MISTRAL, MISTRAL_TOKENS, ToolFormat("[TOOL_CALLS] [", "]", ", ", "name", "arguments", True)),
        (LLAMA, (), ToolFormat("", "", "", "name", "parameters", True)),
        (CHATML, (), COMMON),
        (ELEMENTS, (), COMMON),
        (NO_SYSTEM, (), COMMON),
        ("{{ raise_exception('nothing suits me') }}", (), COMMON),
        ("{% for x in messages %}{{ 1 / 0 }}{% endfor %}", (), COMMON),
    ],
)
def test_the_format_is_found_in_the_template(
    template: str, special: tuple[str, ...], expected: ToolFormat
) -> None:
    assert renderer(template, special).tool_format == expected


def test_a_template_that_writes_arguments_as_a_string_is_understood() -> None:
    form = renderer(QUOTED).tool_format
    assert form.in_template
    assert form.arguments_key == "arguments"


def test_a_call_is_written_as_the_template_writes_it() -> None:
    render = renderer(HERMES)
    written = render.tool_format.write("add", {"a": 1, "b": 2})
    assert written in render.chat(conversation(call("add", '{"a": 1, "b": 2}')), [ADD]).text


def test_special_tokens_are_those_that_are_marked_so() -> None:
    special = renderer(TAGS, TAG_TOKENS).special_tokens
    assert set(TAG_TOKENS) < set(special)
    assert "<|im_end|>" in special
    assert "the" not in special


@pytest.mark.parametrize(
    ("template", "special"),
    [(HERMES, ()), (TAGS, TAG_TOKENS), (MISTRAL, MISTRAL_TOKENS), (LLAMA, ()), (CHATML, ()), (ELEMENTS, ())],
)
@pytest.mark.parametrize("arguments", ['{"a": 1, "b": 2}', '{"a": 1, "b"', "", "[" * 100_000])
def test_calls_and_results_of_a_conversation_are_seen_by_the_model(
    template: str, special: tuple[str, ...], arguments: str
) -> None:
    seen = renderer(template, special).chat(conversation(call("add", arguments), result="33"), [ADD]).text
    assert "add" in seen
    assert "33" in seen


def test_arguments_come_to_the_template_as_an_object_in_the_order_of_the_model() -> None:
    seen = renderer(HERMES).chat(conversation(call("add", '{"b": 2, "a": 1}')), [ADD]).text
    assert '{"name": "add", "arguments": {"b": 2, "a": 1}}' in seen


def test_ids_of_any_length_do_where_a_template_wants_nine_characters() -> None:
    seen = (
        renderer(MISTRAL, MISTRAL_TOKENS)
        .chat(conversation(call("add", '{"a": 1, "b": 2}', "call_1"), call("add", "{}", "call_2")), [ADD])
        .text
    )
    head, _, _ = seen.partition("[TOOL_RESULTS]")
    first, second = (part.partition('"')[0] for part in head.split('"id": "')[1:])
    assert len(first) == len(second) == 9
    assert first != second
    assert f'"call_id": "{first}"' in seen
    assert f'"call_id": "{second}"' in seen


def test_a_model_that_is_not_told_by_its_template_is_told_in_the_systems_message() -> None:
    messages = [{"role": "system", "content": "Be kind."}, *conversation(call("add", '{"a": 1, "b": 2}'))]
    seen = renderer(CHATML).chat(messages, [ADD]).text
    system, _, rest = seen.partition("<|im_end|>")
    assert system.startswith("<|im_start|>system\nBe kind.")
    assert '"name": "add"' in system
    assert COMMON.write("NAME", {"KEY": "VALUE"}) in system
    assert COMMON.write("add", {"a": 1, "b": 2}) in rest
    assert "<|im_start|>user\n<tool_response>\n3\n</tool_response><|im_end|>" in rest


def test_results_of_several_calls_come_in_one_turn() -> None:
    calls = call("add", "{}", "one"), call("add", "{}", "two")
    seen = renderer(CHATML).chat(conversation(*calls), [ADD]).text
    assert seen.count("<|im_start|>user") == 2
    assert seen.count("<tool_response>") == 2


def test_a_model_without_a_systems_message_is_told_by_the_user() -> None:
    seen = renderer(NO_SYSTEM).chat([{"role": "user", "content": "Add 1 and 2."}], [ADD]).text
    assert seen.startswith("<|im_start|>user\nAdd 1 and 2.\n\nYou can call functions.")


def test_a_conversation_that_no_variant_suits_is_refused_in_the_first_words() -> None:
    messages = [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]
    with pytest.raises(RequestRefused, match="System role not supported"):
        renderer(NO_SYSTEM).chat(messages, [ADD])


def test_detecting_survives_templates_that_show_the_name_but_no_call() -> None:
    def render(messages: Any, tools: Any, add_generation_prompt: bool) -> str:
        return "probe_function " + "".join(message["content"] or "" for message in messages)

    assert detect(render) == COMMON
