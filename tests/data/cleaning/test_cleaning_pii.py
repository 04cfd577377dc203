"""Personal data: what is found, what is left alone, what stands in its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from stdnum import luhn

from workbench.data.cleaning.items import Item
from workbench.data.cleaning.pii.national import SCHEMES, nationals
from workbench.data.cleaning.pii.step import PII
from workbench.errors import RecipeError
from workbench.recipe.cleaning.content import PIIStep

EVERY = PII(PIIStep(kinds=["email", "phone", "ip", "card", "iban", "national", "name"]))

FOUND = [
    ("Write to bob.smith+x@corp.co.uk today", "email", "bob.smith+x@corp.co.uk"),
    ("call (415) 555-2671 now", "phone", "(415) 555-2671"),
    ("ring +44 20 7946 0958.", "phone", "+44 20 7946 0958"),
    ("tel. 212-736-5000, ask", "phone", "212-736-5000"),
    ("from 8.8.8.8 at noon", "ip", "8.8.8.8"),
    ("at 2001:4860:4860::8888 too", "ip", "2001:4860:4860::8888"),
    ("call 2025550143 2025550199", "phone", "2025550143"),
    ("dial 2025550143 2025550199", "phone", "2025550199"),
    ("(202) 555-0143 (202) 555-0199", "phone", "(202) 555-0199"),
    ("tel 020 7946 0018 / 020 7946 0019", "phone", "020 7946 0019"),
    ("'ann@x.org'", "email", "ann@x.org"),
    ("from 2a00::1 on", "ip", "2a00::1"),
    ("card 4111 1111 1111 1111 exp", "card", "4111 1111 1111 1111"),
    ("pay with 378282246310005 by card 378282246310005", "card", "378282246310005"),
    ("IBAN DE89 3704 0044 0532 0130 00 NOW", "iban", "DE89 3704 0044 0532 0130 00"),
    ("to GB29NWBK60161331926819.", "iban", "GB29NWBK60161331926819"),
    ("SSN 536-90-4399", "national", "536-90-4399"),
    ("NIR 2 95 10 99 126 111 93", "national", "2 95 10 99 126 111 93"),
    ("PESEL 44051401359", "national", "44051401359"),
    ("DNI 54362315-K", "national", "54362315-K"),
    ("CPF 390.533.447-05", "national", "390.533.447-05"),
    ("we met Dr. Ada Lovelace there", "name", "Ada Lovelace"),
    ("and Mary van Dyke left", "name", "Mary van Dyke"),
]


@pytest.mark.parametrize(("text", "kind", "value"), FOUND, ids=[value for _, _, value in FOUND])
def test_it_is_found(text: str, kind: str, value: str) -> None:
    finds = [(find.kind, find.value) for find in EVERY.find(text)]
    assert (kind, value) in finds
    assert all(text[find.start : find.end] == find.value for find in EVERY.find(text))


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3.4 and 10.0.0.1 and 127.0.0.1 and 999.1.1.1",
        "card 4111 1111 1111 1112",
        "IBAN DE89 3704 0044 0532 0130 01",
        "on 2024-01-15 at 12:30:45, or 15.01.2024",
        "pi is 3.14159265358979 and 1,234,567.89",
        "order 44051401359 without a word for it",
        "std::vector<int> a::b and 12:34:56",
        "id 12345678901234567890123",
        "@decorator and user@localhost",
        "ISBN 978-3-16-148410-0",
        "1" * 300 + "@" + "2" * 300,
    ],
)
def test_it_is_left_alone(text: str) -> None:
    finder = PII(PIIStep())
    assert finder.find(text) == []


def test_a_card_is_what_luhn_says() -> None:
    finder = PII(PIIStep(kinds=["card"]))
    for last in range(10):
        digits = f"453201511283036{last}"
        assert bool(finder.find(f"card {digits} ")) == luhn.is_valid(digits)


def test_every_scheme_can_be_loaded_and_named() -> None:
    for scheme in SCHEMES:
        nationals([scheme.country])
    with pytest.raises(RecipeError, match="no numbers of “XX”"):
        nationals(["XX"])
    with pytest.raises(RecipeError, match="no region"):
        PII(PIIStep(phone_regions=["England"]))


def test_what_stands_in_its_place() -> None:
    text = "a@x.org, b@x.org, a@x.org"
    told = {"tag": "[EMAIL], [EMAIL], [EMAIL]", "numbered": "[EMAIL_1], [EMAIL_2], [EMAIL_1]"}
    for replacement, wanted in told.items():
        item = Item({"text": text}, "text")
        verdict = PII(PIIStep.model_validate({"replacement": replacement})).judge(item)
        assert item.text == wanted and verdict.detail["found"] == {"email": 3}
    item = Item({"text": text}, "text")
    PII(PIIStep(replacement="example")).judge(item)
    assert item.text.count("email@example.com") == 3
    allowed = Item({"text": text}, "text")
    assert PII(PIIStep(allow=["@x.org"])).judge(allowed).action == "kept"
    assert PII(PIIStep(action="drop")).judge(Item({"text": text}, "text")).reason == "email"


def test_a_record_whose_labels_count_characters_is_dropped_whole() -> None:
    values = {
        "question": "Who?",
        "context": "Ask ann@x.org.",
        "answers": {"text": ["ann"], "answer_start": [4]},
    }
    verdict = EVERY.judge(Item(values, "span_extraction"))
    assert verdict.action == "dropped" and values["context"] == "Ask ann@x.org."


def test_scrubbing_twice_changes_nothing_more() -> None:
    for text, _, _ in FOUND:
        item = Item({"text": text}, "text")
        PII(PIIStep()).judge(item)
        assert PII(PIIStep()).judge(item).action == "kept"


@pytest.mark.slow
def test_a_token_classifier_finds_names(tmp_path: Path) -> None:
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"[UNK]": 0, "[PAD]": 1, "Ada": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]")
    tokenizer.save_pretrained(tmp_path)
    shape = {"hidden_size": 3, "num_hidden_layers": 0, "num_attention_heads": 1, "intermediate_size": 3}
    labels = {"id2label": {0: "O", 1: "B-PER"}, "label2id": {"O": 0, "B-PER": 1}}
    model = BertForTokenClassification(BertConfig(vocab_size=3, **labels, **shape))
    with torch.no_grad():
        # The embedding of a word says which it is, and nothing else is added to it.
        for weight in model.parameters():
            weight.zero_()
        model.bert.embeddings.LayerNorm.weight.fill_(1.0)
        model.bert.embeddings.word_embeddings.weight.copy_(torch.eye(3))
        model.classifier.weight[1, 2] = 10.0
        model.classifier.bias.copy_(torch.tensor([1.0, 0.0]))
    model.save_pretrained(tmp_path)
    finder = PII(PIIStep(kinds=["name"], name_model=str(tmp_path)))
    item = Item({"text": "met Ada there, and Ada left"}, "text")
    assert finder.judge(item).detail["found"] == {"name": 2}
    assert item.text == "met [NAME] there, and [NAME] left"


def talk(arguments: object) -> Item:
    call = {"type": "function", "function": {"name": "send", "arguments": arguments}}
    messages = [
        {"role": "user", "content": "Send it.", "name": "ann@x.org"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
    ]
    return Item({"messages": messages, "author": "bob@x.org", "id": 7, "stars": None}, "conversation")


@pytest.mark.parametrize(
    ("arguments", "scrubbed"),
    [
        ({"to": ["eve@x.org"], "n": 3}, {"to": ["[EMAIL_2]"], "n": 3}),
        ('{"to":  "eve@x.org"}', '{"to": "[EMAIL_2]"}'),
        ('{"card": 4111111111111111}', '{"card": "[CARD_1]"}'),
        ({"card": 4111111111111111}, {"card": None}),
        ('{"n":  1}', '{"n":  1}'),
        ("to eve@x.org", "to [EMAIL_2]"),
        ("[" * 100_000, "[" * 100_000),
        ({"card": 4111111111111111.0, "part": 0.5}, {"card": None, "part": 0.5}),
    ],
)
def test_tool_calls_and_names_are_looked_at(arguments: object, scrubbed: object) -> None:
    item = talk(arguments)
    verdict = PII(PIIStep(replacement="numbered")).judge(item)
    assert verdict.action == "changed" and verdict.detail["beside"] == ["messages"]
    user, assistant = item.cleaned()["messages"]
    assert user["name"] == "[EMAIL_1]" and assistant["tool_calls"][0]["function"]["arguments"] == scrubbed
    assert item.values["author"] == "bob@x.org"


@pytest.mark.parametrize("calls", [5, "none", {"a": 1}])
def test_calls_of_another_form_are_no_trouble(calls: object) -> None:
    message = {"role": "assistant", "content": "", "tool_calls": calls}
    message["function_call"] = {"name": "send", "arguments": '{"to": "eve@x.org"}'}
    item = Item({"messages": [message]}, "conversation")
    assert PII(PIIStep()).judge(item).action == "changed"
    assert item.cleaned()["messages"][0]["function_call"]["arguments"] == '{"to": "[EMAIL]"}'
    assert message["tool_calls"] == calls


def test_other_columns_are_looked_at_when_named() -> None:
    for columns in (["author"], ["*"]):
        item = talk("{}")
        verdict = PII(PIIStep(columns=columns)).judge(item)
        assert verdict.detail["beside"] == ["messages", "author"] and item.values["author"] == "[EMAIL]"
        assert (item.values["id"], item.values["stars"]) == (7, None)
    item = talk("{}")
    assert PII(PIIStep(columns=["author"], action="drop")).judge(item).detail["found"] == {"email": 2}
    assert item.values["author"] == "bob@x.org"


@pytest.mark.parametrize(("context", "action"), [("nobody", "changed"), ("ann@x.org", "dropped")])
def test_columns_beside_texts_that_must_stay_are_changed(context: str, action: str) -> None:
    item = Item({"question": "Who?", "context": context, "author": "bob@x.org"}, "span_extraction")
    assert PII(PIIStep(columns=["author"])).judge(item).action == action
    assert item.values["context"] == context
    assert action == "dropped" or item.values["author"] == "[EMAIL]"


@pytest.mark.parametrize(
    "text",
    ["y = W@x.float()", "(A@B.shape)", "A@B.mT", "f(W@x.data.sum(1))", "W@x.to(device)", "W@self.net(x)"],
)
def test_products_of_matrices_are_no_addresses(text: str) -> None:
    assert not EVERY.find(text)


def test_an_address_may_stand_before_a_bracket() -> None:
    text = "ann@x.org (at work), bob@uni.edu.mt, eve@x.org(Eve), joe@x.co.uk(0)"
    wanted = ["ann@x.org", "bob@uni.edu.mt", "eve@x.org", "joe@x.co.uk"]
    assert [find.value for find in EVERY.find(text)] == wanted
