"""What is extracted from a text as its answer, and which answers are the same."""

from __future__ import annotations

import time

import pytest

from workbench.errors import PromptError
from workbench.prompting.answers import Answer, extract, key, same
from workbench.prompting.validation import check

NUMBERS = [
    ("24", "24"),
    ("She makes 9 * 2 = $<<9*2=18>>18 every day.\n#### 18", "18"),
    ("#### 1,234", "1234"),
    ("####\n-7", "-7"),
    ("The answer is 42.", "42"),
    ("The answer is: 42", "42"),
    ("**Answer:** 42 apples, 3 of them red", "42"),
    ("Therefore, the answer (arabic numerals) is 8 eggs.", "8"),
    ("Final answer: **$70,000**.", "70000"),
    ("The answer is 3 + 4 = 7 of 10.", "7"),
    ("The answer is 5. No, wait. The answer is 6.", "6"),
    ("The answer is 5.\n#### 6", "6"),
    ("#### 6\nThe answer is 5.", "5"),
    (r"So we get \boxed{12} out of 40.", "12"),
    (r"\boxed{\frac{3}{4}}", "0.75"),
    (r"\boxed{\dfrac{1}{3}}", "1/3"),
    (r"$\boxed{1{,}250}$ and then 3", "1250"),
    (r"The answer is \$1,000.50", "1000.5"),
    ("the answer is given below.\nIt took 17 days", "17"),
    ("first 3, then 4, at last 9 of them", "9"),
    ("16 - 3 - 4 = 9", "9"),
    ("16-3", "3"),
    ("it fell to -5 degrees", "-5"),
    ("it fell to −5 degrees", "-5"),
    ("-$5", "-5"),
    ("$-5", "-5"),
    ("1,234,567.890", "1234567.89"),
    ("1\u202f234\u202f567 people", "1234567"),
    ("€1.50", "1.5"),
    ("50%", "50"),
    ("50 %", "50"),
    ("18km", "18"),
    ("25 cm^2", "25"),
    ("12 m²", "12"),
    ("Rs.500", "500"),
    (".5", "0.5"),
    ("0.50", "0.5"),
    ("1/2", "0.5"),
    ("3 1/2 hours", "3.5"),
    ("2½ cups", "2.5"),
    ("½", "0.5"),
    ("2/3", "2/3"),
    ("-1/4", "-0.25"),
    ("1/0", None),
    ("1.5e3", "1500"),
    ("1.5 × 10^3", "1500"),
    (r"2 \times 10^{-2}", "0.02"),
    ("1e999999999", None),
    ("9" * 5000, None),
    ("2, 3", "3"),
    ("5\n1/2", "0.5"),
    ("none at all", None),
    ("", None),
    ("\x1b[31m7\x1b[0m is red, [bold]8[/bold]", "8"),
]

LETTERS = [
    ("B", "B"),
    ("b", "B"),
    ("(b)", "B"),
    ("B. Paris", "B"),
    ("**C)** because", "C"),
    ("The answer is (D).", "D"),
    ("The answer is A train", "A"),
    ("the answer is: d", "D"),
    ("A train leaves. It must be C.", "C"),
    ("A train leaves the station.", None),
    ("Option B is right, so I choose B", "B"),
    ("It could be (A) or (C), the answer is (C)", "C"),
    (r"\boxed{\text{(E)}}", "E"),
    ("BADGE", None),
    ("none of these", None),
]

LABELS = [
    ("positive", "positive"),
    ("Positive.", "positive"),
    ("Negative, though it seems positive", "negative"),
    ("This review is clearly very negative.", "very negative"),
    ("It is not neutral. The sentiment is positive", "positive"),
    ("Answer: neutral (not positive)", "neutral"),
    ("positively", None),
]

YES_NO = [
    ("Yes, it is.", "yes"),
    ("no", "no"),
    ("**No** — the yes is elsewhere", "no"),
    ("I know that nobody went. Therefore, the answer (Yes or No) is no.", "no"),
    ("The statement is true", "yes"),
    ("No one left, so he is there. The answer is yes.", "yes"),
    ("nobody knows", None),
]

TEXTS = [
    ("Paris", "Paris"),
    ("  The answer is “Paris”.", "Paris"),
    ("Some thoughts.\nAnswer: the *Eiffel* Tower", "the *Eiffel* Tower"),
    (r"\boxed{\text{Ada Lovelace}}", "Ada Lovelace"),
    ("two\nlines.", "two\nlines."),
    ("[red]\x1b[2J[/red]", "[red]\x1b[2J[/red]"),
    (" \n", None),
]

JSON = [
    ('{"answer": "Paris"}', "Paris"),
    ('Sure:\n```json\n{"answer": 3}\n```\nI hope it helps [1].', "3"),
    ('{"answer": {"b": 1, "a": [true, null]}}', '{"a": [true, null], "b": 1}'),
    ('{"other": 1}', None),
    ('{"answer": ', None),
    ("[" * 100_000, None),
    ("{" * 100_000, None),
]


@pytest.mark.parametrize(("text", "expected"), NUMBERS)
def test_numbers_are_found_and_have_one_form(text: str, expected: str | None) -> None:
    assert extract(text, Answer(kind="number")) == expected


@pytest.mark.parametrize(("text", "expected"), LETTERS)
def test_letters_are_found_and_articles_are_not(text: str, expected: str | None) -> None:
    assert extract(text, Answer(kind="choice")) == expected


@pytest.mark.parametrize(("text", "expected"), LABELS)
def test_labels_are_whole_words_and_the_longer_one_wins(text: str, expected: str | None) -> None:
    labels = ("positive", "neutral", "negative", "very negative")
    assert extract(text, Answer(kind="choice", options=labels)) == expected


@pytest.mark.parametrize(("text", "expected"), YES_NO)
def test_yes_and_no_are_found(text: str, expected: str | None) -> None:
    assert extract(text, Answer(kind="yes_no")) == expected


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_text_is_taken_literally(text: str, expected: str | None) -> None:
    assert extract(text, Answer(kind="text")) == expected


@pytest.mark.parametrize(("text", "expected"), JSON)
def test_a_field_of_json_is_found_wherever_the_json_stands(text: str, expected: str | None) -> None:
    assert extract(text, Answer(kind="json", field="answer")) == expected


@pytest.mark.parametrize(
    ("kind", "one", "other", "alike"),
    [
        ("number", "1,000", "1000.0", True),
        ("number", "0.5", "1/2", True),
        ("number", "$3", "3 dollars", True),
        ("number", "0.333", "1/3", False),
        ("text", "The Eiffel  Tower!", "eiffel tower", True),
        ("text", "Paris", "London", False),
        ("text", "+", "-", False),
        ("choice", "b", "B", True),
        ("json", "1", "1.0", True),
        ("json", "[1, 2]", "[1, 3]", False),
        ("json", "Paris", "paris", True),
    ],
)
def test_answers_are_compared_by_what_they_mean(kind: str, one: str, other: str, alike: bool) -> None:
    answer = check(Answer, kind, "here")
    assert same(one, other, answer) is alike
    assert (key(one, answer) == key(other, answer)) is alike


def test_a_missing_answer_is_like_no_other() -> None:
    assert not same(None, None, Answer())


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{" * 20_000,
        "the answer " * 20_000,
        "1 " * 50_000,
        "1,234," * 30_000,
        "1 11/" * 30_000,
        '{"a": [' * 20_000,
        "(a)" * 50_000,
        "answer is " * 20_000,
    ],
)
@pytest.mark.parametrize("kind", ["number", "choice", "yes_no", "text", "json"])
def test_hostile_texts_take_no_time(text: str, kind: str) -> None:
    began = time.process_time()
    extract(text, check(Answer, kind, "here"))
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"kind": "number", "options": ["a", "b"]}, "options are for the kind choice"),
        ({"kind": "text", "field": "x"}, "a field is for the kind json"),
        ({"kind": "choice", "options": ["a", "A"]}, "all different"),
        ({"kind": "choice", "options": ["a"]}, "at least 2"),
        ({"kind": "choise"}, "choise"),
        ({"knd": "choice"}, "no key “knd”"),
    ],
)
def test_impossible_answers_are_refused(value: dict[str, object], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        check(Answer, value, "here")
