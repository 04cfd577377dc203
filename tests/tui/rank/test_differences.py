"""Word by word: what another answer has, what it lacks, and that nothing is lost or added by marking."""

from __future__ import annotations

import random

from workbench.tui.rank.differences import MISSING, OTHER, differences


def test_what_is_other_and_what_is_missing() -> None:
    spans, alike = differences("a red fox and a dog", "a brown fox and a lazy dog")
    assert [text for text, role in spans if role == OTHER] == ["red"]
    assert [text.strip() for text, role in spans if role == MISSING] == ["brown", "lazy"]
    assert 0.7 < alike < 0.8


def test_without_what_is_missing_it_is_the_text() -> None:
    rng = random.Random(5)
    for _ in range(200):
        one, other = ("".join(rng.choices("ab. \n\t,é", k=rng.randrange(30))) for _ in range(2))
        spans, alike = differences(one, other)
        assert "".join(text for text, role in spans if role != MISSING) == one
        assert 0 <= alike <= 1
        assert one.split() != other.split() or not [role for _, role in spans if role]


def test_what_has_nothing_in_common_is_not_marked() -> None:
    assert differences("one two three", "four five six") == ([("one two three", "")], 0.0)


def test_behind_what_is_compared_the_text_goes_on() -> None:
    text = "word " * 5_000
    spans, _ = differences(text, text + "more")
    assert "".join(part for part, role in spans if role != MISSING) == text
