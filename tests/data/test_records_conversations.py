"""What of a conversation is to be predicted, by the templates of well-known families, token by token."""

from __future__ import annotations

from typing import Any

import pytest
from family_templates import OWN, QWEN_3, tokenizer_of

from workbench.data.chat_templates import chat_template, known_templates
from workbench.data.records.conversations import Conversations
from workbench.errors import DataError

FAMILIES = list(OWN)
TURNS = [
    {"role": "user", "content": "What is two and two?"},
    {"role": "assistant", "content": "Four."},
    {"role": "user", "content": "And the half of it?"},
    {"role": "assistant", "content": "Two,\nas before."},
]


def parts(tokenizer: Any, ids: list[int], supervised: list[bool]) -> list[tuple[bool, str]]:
    """Runs of tokens that are, or are not, to be predicted, as text."""
    runs: list[tuple[bool, list[int]]] = []
    for token, wanted in zip(ids, supervised, strict=True):
        if not runs or runs[-1][0] != wanted:
            runs.append((wanted, []))
        runs[-1][1].append(token)
    return [(wanted, tokenizer.decode(run)) for wanted, run in runs]


def rendered(family: str, template: str, turns: Any = TURNS, **options: Any) -> list[tuple[bool, str]]:
    tokenizer = tokenizer_of(family, template)
    return parts(tokenizer, *Conversations(tokenizer).render(turns, **options))


EXPECTED = {
    "smollm2": [
        (
            False,
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
            "<|im_end|>\n<|im_start|>user\nWhat is two and two?<|im_end|>\n<|im_start|>assistant\n",
        ),
        (True, "Four.<|im_end|>"),
        (False, "\n<|im_start|>user\nAnd the half of it?<|im_end|>\n<|im_start|>assistant\n"),
        (True, "Two,\nas before.<|im_end|>"),
        (False, "\n"),
    ],
    "qwen2.5": [
        (
            False,
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
            "<|im_end|>\n<|im_start|>user\nWhat is two and two?<|im_end|>\n<|im_start|>assistant\n",
        ),
        (True, "Four.<|im_end|>"),
        (False, "\n<|im_start|>user\nAnd the half of it?<|im_end|>\n<|im_start|>assistant\n"),
        (True, "Two,\nas before.<|im_end|>"),
        (False, "\n"),
    ],
    "llama3": [
        (
            False,
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWhat is two and two?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (True, "Four.<|eot_id|>"),
        (
            False,
            "<|start_header_id|>user<|end_header_id|>\n\nAnd the half of it?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (True, "Two,\nas before.<|eot_id|>"),
    ],
    "gemma": [
        (
            False,
            "<bos><start_of_turn>user\nWhat is two and two?<end_of_turn>\n<start_of_turn>model\n",
        ),
        (True, "Four.<end_of_turn>"),
        (False, "\n<start_of_turn>user\nAnd the half of it?<end_of_turn>\n<start_of_turn>model\n"),
        (True, "Two,\nas before.<end_of_turn>"),
        (False, "\n"),
    ],
    "mistral": [
        (False, "<s>[INST] What is two and two?[/INST]"),
        (True, " Four.</s>"),
        (False, "[INST] And the half of it?[/INST]"),
        (True, " Two,\nas before.</s>"),
    ],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_by_the_templates_of_the_families(family: str) -> None:
    assert rendered(family, OWN[family]) == EXPECTED[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_our_templates_write_and_mark_the_same(family: str) -> None:
    assert family in known_templates()
    assert rendered(family, chat_template(family)) == EXPECTED[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_last_answer(family: str) -> None:
    for template in (OWN[family], chat_template(family)):
        found = rendered(family, template, first=2)
        assert [text for wanted, text in found if wanted] == [EXPECTED[family][3][1]]
        assert "".join(text for _, text in found) == "".join(text for _, text in EXPECTED[family])


def test_ids_are_those_of_the_whole_text() -> None:
    tokenizer = tokenizer_of("smollm2", OWN["smollm2"])
    text = tokenizer.apply_chat_template(TURNS, tokenize=False)
    found = Conversations(tokenizer).render(TURNS)
    assert found.ids == tokenizer(text, add_special_tokens=False)["input_ids"]


TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CALLED = [
    {"role": "system", "content": "Be exact."},
    {"role": "user", "content": "2+2?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": 2, "b": 2}}}],
    },
    {"role": "tool", "content": "4"},
    {"role": "assistant", "content": "It is 4."},
]


def test_calls_of_tools() -> None:
    found = rendered("qwen2.5", chat_template("qwen2.5"), CALLED, tools=[TOOL])
    assert [text for wanted, text in found if wanted] == [
        '<tool_call>\n{"name": "add", "arguments": {"a": 2, "b": 2}}\n</tool_call><|im_end|>',
        "It is 4.<|im_end|>",
    ]
    assert found[0][1] == (
        "<|im_start|>system\nBe exact.\n\n# Tools\n\nYou may call one or more functions to assist with the "
        "user query.\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
        '{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}\n</tools>\n\n'
        "For each function call, return a json object with function name and arguments within "
        '<tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": '
        "<args-json-object>}\n</tool_call><|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert found[2][1] == (
        "\n<|im_start|>user\n<tool_response>\n4\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("family", ["gemma", "mistral"])
def test_a_system_where_the_family_knows_none_stands_before_the_first_question(family: str) -> None:
    turns = [{"role": "system", "content": "Be brief."}, *TURNS]
    (_, first), *_ = rendered(family, chat_template(family), turns)
    assert "Be brief.\n\nWhat is two and two?" in first
    with pytest.raises(DataError, match="refuses this conversation"):
        rendered(family, OWN[family], turns)


@pytest.mark.parametrize("template", [OWN["smollm2"], chat_template("smollm2")], ids=["own", "marked"])
def test_special_tokens_that_are_spelt_out_are_text(template: str) -> None:
    turns = [
        {"role": "user", "content": "Say <|im_end|> to me"},
        {"role": "assistant", "content": "<|im_end|> and <|im_start|> are tokens"},
    ]
    tokenizer = tokenizer_of("smollm2", template)
    found = Conversations(tokenizer).render(turns)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert found.ids.count(end) == 3
    said = [token for token, wanted in zip(found.ids, found.supervised, strict=True) if wanted]
    assert said.count(end) == 1 and said[-1] == end
    assert tokenizer.decode(said) == "<|im_end|> and <|im_start|> are tokens<|im_end|>"


def test_an_end_that_the_template_leaves_outside_its_mark_is_predicted_too() -> None:
    template = chat_template("chatml").replace(
        "{{- message.content ~ '<|im_end|>' -}}{%- endgeneration -%}",
        "{{- message.content -}}{%- endgeneration -%}{{- '<|im_end|>' -}}",
    )
    found = rendered("smollm2", template)
    assert [text for wanted, text in found if wanted] == ["Four.<|im_end|>", "Two,\nas before.<|im_end|>"]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (QWEN_3, "writes message 2 otherwise once more follows"),
        (OWN["smollm2"].replace("<|im_end|>", "###"), "with no special token"),
        ("{{ messages | length }}", "otherwise once more follows"),
        ("{{ raise_exception('no!') }}", "refuses this conversation: no!"),
    ],
)
def test_templates_that_cannot_be_masked_are_errors_with_a_way_out(template: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        rendered("smollm2", template, where="talks.jsonl:7")
    assert caught.value.where == "talks.jsonl:7" and "data.chat_template" in str(caught.value.hint)


def test_marks_that_are_not_one_a_message_do_not_tell_the_last_ones() -> None:
    last = "{%- if loop.last -%}{%- generation -%}{{- message.content ~ '<|im_end|>' -}}{%- endgeneration -%}"
    template = chat_template("chatml").replace(
        "{%- generation -%}{{- message.content ~ '<|im_end|>' -}}{%- endgeneration -%}",
        last + "{%- else -%}{{- message.content ~ '<|im_end|>' -}}{%- endif -%}",
    )
    assert [text for wanted, text in rendered("smollm2", template) if wanted] == [
        "Two,\nas before.<|im_end|>"
    ]
    with pytest.raises(DataError, match="marks 1 of 2 messages"):
        rendered("smollm2", template, first=2)


def test_no_template_and_nothing_said() -> None:
    with pytest.raises(DataError, match="no chat template"):
        Conversations(tokenizer_of("smollm2", None))
    with pytest.raises(DataError, match="the assistant says nothing"):
        rendered("smollm2", OWN["smollm2"], TURNS[:1])


def test_templates_by_name_and_by_file(tmp_path: Any) -> None:
    own = tmp_path / "mine.jinja"
    own.write_text("{{ messages[0].content }}")
    assert chat_template(str(own)) == "{{ messages[0].content }}"
    with pytest.raises(DataError, match="no chat template “chatlm”") as caught:
        chat_template("chatlm")
    assert "chatml" in str(caught.value.hint)
    own.write_text(" \n")
    with pytest.raises(DataError, match="holds no chat template"):
        chat_template(str(own))
