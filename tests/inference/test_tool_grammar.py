from __future__ import annotations

from typing import Any

import llguidance
import llguidance.hf
import pytest
from chat_templates import HERMES, LLAMA, MISTRAL, MISTRAL_TOKENS, TAG_TOKENS, TAGS
from served import byte_tokenizer

from workbench.inference.server.rendering import Renderer
from workbench.inference.server.tool_grammar import calls_grammar

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    },
}
PING = {"type": "function", "function": {"name": "ping"}}
LOOSE = {
    "type": "function",
    "function": {"name": "loose", "parameters": {"$ref": "#/$defs/x", "$defs": {"x": {"type": "object"}}}},
}
FORMATS: dict[str, tuple[str, tuple[str, ...]]] = {
    "hermes": (HERMES, ()),
    "tags": (TAGS, TAG_TOKENS),
    "mistral": (MISTRAL, MISTRAL_TOKENS),
    "llama": (LLAMA, ()),
}


class Checked:
    """Which texts a grammar lets a model write."""

    def __init__(self, name: str, *, required: bool, parallel: bool, tools: list[Any] | None = None) -> None:
        template, special = FORMATS[name]
        self.tokenizer = byte_tokenizer(template, special)
        renderer = Renderer(self.tokenizer)
        self.form = renderer.tool_format
        self.grammar = calls_grammar(
            tools or [ADD, PING],
            self.form,
            renderer.special_tokens,
            required=required,
            parallel=parallel,
        )
        self.native = llguidance.hf.from_tokenizer(self.tokenizer, n_vocab=len(self.tokenizer))

    def takes(self, text: str) -> bool:
        matcher = llguidance.LLMatcher(self.native, self.grammar, log_level=0)
        assert not matcher.get_error(), matcher.get_error()
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return bool(matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting())


@pytest.fixture(params=list(FORMATS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_only_whole_calls_are_required_calls(name: str) -> None:
    checked = Checked(name, required=True, parallel=False)
    write = checked.form.write
    assert checked.takes(write("add", {"a": 1}))
    assert checked.takes(write("ping", {}))
    for wrong in (
        "",
        "text",
        write("add", {"a": 1})[:-2],
        write("add", {}),
        write("add", {"a": "1"}),
        write("add", {"a": 1, "b": 2}),
        write("ping", {"a": 1}),
        write("other", {}),
        write("add", {"a": 1}) + "text",
        write("add", {"a": 1}) * 2,
    ):
        assert not checked.takes(wrong), wrong


def test_text_comes_before_calls_and_never_after_them(name: str) -> None:
    checked = Checked(name, required=False, parallel=False)
    call = checked.form.write("add", {"a": 1})
    assert checked.takes("")
    assert checked.takes("plain text, é and <tool")
    assert checked.takes(call)
    assert not checked.takes(call + " and more")
    if checked.form.begin.strip():
        assert checked.takes("Let me see." + call)
        assert checked.takes('{"name": "json is text here"')
        for wrong in (checked.form.begin + "no call", "Hm " + call[:-3], call + "\n" + call):
            assert not checked.takes(wrong), wrong
    else:
        assert not checked.takes('{"name": "other"}')
        assert checked.takes('The JSON {"name": "other"} is in a text')


def test_several_calls_stand_as_the_template_writes_them(name: str) -> None:
    one, many = (Checked(name, required=True, parallel=parallel) for parallel in (False, True))
    form = many.form
    first, second = form.write("add", {"a": 1}), form.write("ping", {})
    both = first.removesuffix(form.end) + form.between + second.removeprefix(form.begin)
    assert not one.takes(both)
    assert many.takes(both) == bool(form.between)


def test_schemas_may_point_into_themselves(name: str) -> None:
    checked = Checked(name, required=True, parallel=False, tools=[ADD, LOOSE])
    assert checked.takes(checked.form.write("loose", {"any": [1]}))
    assert not checked.takes(checked.form.write("loose", [1]))


def test_names_with_quotes_and_other_letters_are_spelt_as_json_spells_them() -> None:
    tool = {"type": "function", "function": {"name": 'a"b\\é'}}
    checked = Checked("hermes", required=True, parallel=False, tools=[tool])
    assert checked.takes(checked.form.write('a"b\\é', {}))
