"""What a labelled record must be, said with file and line; tags of entities in IOB2 or IOB1."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.data.records import CHECKS, Record
from workbench.data.records.schemes import scheme_of, to_iob2
from workbench.errors import DataError

CONTEXT = "Ada met Bob, and Bob left."


def check(kind: str, labelled: bool = True, **values: Any) -> dict[str, Any]:
    return CHECKS[kind](Record(values, "a.jsonl:7"), labelled=labelled)


@pytest.mark.parametrize(
    ("label", "expected"),
    [("good", "good"), (" a ", "a"), (3, "3"), (1.0, "1"), (0.5, "0.5"), (True, "True"), ("1.0", "1.0")],
)
def test_labels_are_names(label: object, expected: str) -> None:
    assert check("classification", text="a", label=label) == {"text": "a", "label": expected}


def test_numbers_are_numbers() -> None:
    assert check("regression", text="a", text_pair="b", label="-1.5e2") == {
        "text": "a",
        "text_pair": "b",
        "label": -150.0,
    }


def test_halves_of_surrogate_pairs_are_replaced() -> None:
    assert check("classification", text="a\ud800 \ud83e\uddea", label="é")["text"] == "a\ufffd 🧪"


def test_without_labels_only_the_text_is_looked_at() -> None:
    assert check("tagging", labelled=False, tokens=["a"]) == {"tokens": ["a"]}
    assert check("span_extraction", labelled=False, question="q", context="c", answers=3) == {
        "question": "q",
        "context": "c",
    }


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"text": ["Bob"], "answer_start": [17]}, [("Bob", 17)]),
        ({"text": ["Ada", "Bob"], "answer_start": [0, 8]}, [("Ada", 0), ("Bob", 8)]),
        ({"text": ["left"], "answer_start": [3]}, [("left", 21)]),
        ({"text": ["Ada"]}, [("Ada", 0)]),
        ({"text": [], "answer_start": []}, []),
        ([{"text": "Ada", "answer_start": 0}], [("Ada", 0)]),
        (["Ada"], [("Ada", 0)]),
        ("Ada", [("Ada", 0)]),
        ([], []),
    ],
)
def test_answers_are_found_in_their_context(answers: object, expected: list[tuple[str, int]]) -> None:
    found = check("span_extraction", question="who?", context=CONTEXT, answers=answers)
    assert found["answers"] == expected


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("classification", {"text": "a"}, "the record has no label"),
        ("classification", {"text": "a", "label": None}, "the record has no label"),
        ("classification", {"text": "a", "label": " "}, "the record has no label"),
        ("classification", {"text": "a", "label": float("nan")}, "the record has no label"),
        ("classification", {"text": "a", "label": [1]}, "the label is a list"),
        ("classification", {"label": 1}, "“text” holds nothing, not text"),
        ("classification", {"text": 3, "label": 1}, "“text” holds a number"),
        ("classification", {"text": " ", "label": 1}, "“text” is blank"),
        ("classification", {"text": "a", "text_pair": 1, "label": 1}, "“text_pair” holds a number"),
        ("regression", {"text": "a", "label": "many"}, "the label “many” is no number"),
        ("regression", {"text": "a", "label": "inf"}, "is no number"),
        ("tagging", {"tokens": "a b", "tags": ["O"]}, "“tokens” holds a string, not a list of words"),
        ("tagging", {"tokens": [], "tags": []}, "no words"),
        ("tagging", {"tokens": ["a", "b"], "tags": ["O"]}, "2 words and 1 tags"),
        ("tagging", {"tokens": ["a", "b"], "tags": ["O", None]}, "word 2 has no tag"),
        ("tagging", {"tokens": ["a"]}, "“tags” holds nothing, not a list"),
        ("tagging", {"tokens": ["a", "b"], "tags": ["B-X", "E-X"]}, "“E-X” of word 2 is out of the scheme"),
        ("tagging", {"tokens": ["a", "b", "c"], "tags": ["B-X", "O", "I-X"]}, "“I-X” of word 3 follows “O”"),
        ("span_extraction", {"question": "q", "context": CONTEXT, "answers": ["Eve"]}, "not stand anywhere"),
        ("span_extraction", {"question": "q", "context": CONTEXT, "answers": ["Bob"]}, "in one place only"),
        ("span_extraction", {"question": "q", "context": CONTEXT,
                             "answers": {"text": ["Bob"], "answer_start": [1]}}, "several other places"),
        ("span_extraction", {"question": "q", "context": CONTEXT, "answers": 3}, "“answers” holds a number"),
        ("span_extraction", {"question": "q", "context": CONTEXT, "answers": [""]}, "an answer is blank"),
    ],
)  # fmt: skip
def test_what_a_record_lacks_is_named_with_its_line(kind: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        check(kind, **values)
    assert message in caught.value.message
    assert caught.value.where == "a.jsonl:7"


def test_iob1_is_known_by_all_sentences_of_a_source_and_turned_into_iob2() -> None:
    first = ["I-PER", "I-PER", "O", "I-LOC", "B-LOC", "I-ORG"]
    assert scheme_of([(first, "a:1"), (["O"], "a:8")]) == "IOB1"
    assert to_iob2(first) == ["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "B-ORG"]
    assert scheme_of([(to_iob2(first), "a:1")]) == "IOB2"
    assert to_iob2(to_iob2(first)) == to_iob2(first)
    assert scheme_of([(["NN", "VB"], "a:1")]) == ""


def test_a_source_in_both_schemes_is_refused_with_both_places() -> None:
    with pytest.raises(DataError) as caught:
        scheme_of([(["O", "I-PER"], "a:1"), (["O", "B-PER"], "a:5")])
    assert caught.value.where == "a:1"
    assert "“I-PER” of word 2 follows “O”" in caught.value.message
    assert "a:5" in caught.value.message
    with pytest.raises(DataError, match="“S-PER” is out of the scheme"):
        scheme_of([(["B-PER"], "a:1"), (["O", "S-PER"], "a:5")])
