"""The kind of records is found from their columns, and what is missing for one is named."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.data.kinds import KINDS, check, detect
from workbench.errors import DataError


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ({"text": "a"}, "text"),
        ({"text": "a", "label": "good"}, "classification"),
        ({"text": "a", "text_pair": "b", "label": 1}, "classification"),
        ({"text": "a", "label": True}, "classification"),
        ({"text": "a", "label": 0.5}, "regression"),
        ({"text": "a", "text_pair": "b", "label": "4.25"}, "regression"),
        ({"text": "a", "label": 2.0}, "classification"),
        ({"tokens": ["a"], "tags": ["O"], "text": "a"}, "tagging"),
        ({"question": "a", "context": "b", "answers": {}, "text": ""}, "span_extraction"),
        ({"prompt": "a", "completions": ["b"], "ranks": [1]}, "ranking"),
        ({"prompt": "a", "chosen": "b", "rejected": "c", "margin": 1}, "preference"),
        ({"prompt": "a", "completion": "b", "label": True}, "binary_feedback"),
        ({"prompt": "a", "completion": "b"}, "prompt_completion"),
        ({"messages": [], "tools": []}, "conversation"),
    ],
)
def test_a_kind_is_detected_and_the_reason_names_its_columns(record: dict[str, Any], kind: str) -> None:
    found = detect(list(record), [record])
    assert found.kind == kind
    assert all(column in found.why for column in found.columns)
    assert set(found.columns) <= set(record)


def test_one_label_with_a_fraction_among_whole_numbers_makes_a_regression() -> None:
    labels = [1, 2, "2.5", None]
    assert detect(["text", "label"], [{"text": "a", "label": label} for label in labels]).kind == "regression"
    labels.append("good")
    assert (
        detect(["text", "label"], [{"text": "a", "label": label} for label in labels]).kind
        == "classification"
    )


@pytest.mark.parametrize(
    ("columns", "message", "hint"),
    [
        (["question", "answer"], "prompt_completion, which lacks prompt and completion",
         "columns: {prompt: question, completion: answer}"),
        (["sentence", "label"], "lacks text", "columns: {text: sentence}"),
        (["words", "ner_tags"], "tagging, which lacks tokens and tags",
         "columns: {tokens: words, tags: ner_tags}"),
        (["question", "context"], "span_extraction, which lacks answers", "columns: {answers: COLUMN}"),
        (["x", "y"], "the columns x, y fit no kind", "COLUMN"),
        ([], "(none)", "COLUMN"),
    ],
)  # fmt: skip
def test_columns_of_no_kind_are_refused_with_what_is_missing(
    columns: list[str], message: str, hint: str
) -> None:
    with pytest.raises(DataError) as caught:
        detect(columns, [], "a.jsonl:1")
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.where == "a.jsonl:1"
    assert all(f"{kind.name} ({', '.join(kind.needs)})" in caught.value.hint for kind in KINDS)


def test_a_named_kind_is_checked() -> None:
    check("tagging", ["id", "tokens", "tags"], "a:1")
    with pytest.raises(DataError, match="kind tagging need the column tags; there are tokens, pos_tags") as e:
        check("tagging", ["tokens", "pos_tags"], "a:1")
    assert e.value.hint.endswith("columns: {tags: pos_tags}")
