"""The history of what was sent: appended to, read backwards, searched, and robust against kills."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from workbench.errors import StorageError
from workbench.store import history


def sent(question: str, *answers: str, **more: object) -> str:
    name = history.new_id()
    history.add_sent(name, {"question": question, **more})
    for column, text in enumerate(answers):
        history.add_answer(name, column, {"chains": [{"log": [[text, ""]]}], "steps": ["hidden words"]})
    return name


def test_nothing_was_sent() -> None:
    assert list(history.entries()) == []


def test_the_latest_comes_first_with_its_answers_by_column() -> None:
    sent("one", "first")
    sent("two", "left", "right")
    latest, before = history.entries()
    assert (latest.question, before.question) == ("two", "one")
    assert [answer["chains"][0]["log"] for answer in latest.answers.values()] == [
        [["left", ""]],
        [["right", ""]],
    ]
    assert list(latest.answers) == [0, 1]


def test_what_was_never_answered_is_there_too() -> None:
    sent("killed before the answer")
    (entry,) = history.entries()
    assert entry.answers == {}


def test_only_so_many_are_read() -> None:
    for number in range(20):
        sent(f"question {number}")
    assert [entry.question for entry in history.entries(limit=3)] == [
        "question 19",
        "question 18",
        "question 17",
    ]


def test_lines_longer_than_a_block_and_many_of_them_come_back_whole() -> None:
    texts = [f"{number} " + "ä€𝄞\n" * (number * 997 % 40_000) for number in range(40)]
    for text in texts:
        sent(text, text[::-1])
    found = list(history.entries())
    assert [entry.question for entry in found] == texts[::-1]
    assert all(entry.answers[0]["chains"][0]["log"][0][0] == entry.question[::-1] for entry in found)


def test_every_word_must_be_in_the_question_the_answer_or_the_model() -> None:
    sent("Why is the sky BLUE?", "Rayleigh scattering", setups=[{"model": {"model": "smol"}}])
    sent("Name a colour", "blue")
    assert [entry.question for entry in history.entries("blue")] == ["Name a colour", "Why is the sky BLUE?"]
    assert [entry.question for entry in history.entries("sky rayleigh SMOL")] == ["Why is the sky BLUE?"]
    assert not list(history.entries("blue green"))
    # Names of keys, and steps, are no words of anybody.
    assert not list(history.entries("question"))
    assert not list(history.entries("hidden"))


def test_a_torn_last_line_costs_neither_what_was_before_nor_what_comes_after(home: Path) -> None:
    sent("before", "yes")
    (path,) = (home / "history").glob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"id": "abc", "time": 1, "sent": {"question": "to')
    assert [entry.question for entry in history.entries()] == ["before"]
    sent("after")
    assert [entry.question for entry in history.entries()] == ["after", "before"]


def test_garbage_lines_are_left_out(home: Path) -> None:
    sent("good")
    (path,) = (home / "history").glob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'[1, 2]\n\xff\xfe\n{"id": 3}\n{"id": "x"}\n{"id": "x", "sent": 5}\n\n')
    sent("better")
    assert [entry.question for entry in history.entries()] == ["better", "good"]


def test_months_are_read_from_the_newest_to_the_oldest(home: Path) -> None:
    name = sent("old")
    (path,) = (home / "history").glob("*.jsonl")
    path.rename(path.with_name("2001-01.jsonl"))
    # Sent in the last minute of a month, answered in the first of the next.
    history.add_answer(name, 0, {"chains": []})
    sent("new")
    new, old = history.entries()
    assert (new.question, old.question) == ("new", "old")
    assert old.answers == {0: {"chains": []}}


def test_what_a_model_writes_need_not_be_unicode() -> None:
    sent("half a pair: \ud83d", "\x00 and \x1b[2J")
    (entry,) = history.entries()
    assert entry.question == "half a pair: ?"
    assert entry.answers[0]["chains"][0]["log"][0][0] == "\x00 and \x1b[2J"


def test_nobody_else_may_read_it(home: Path) -> None:
    sent("secret")
    (path,) = (home / "history").glob("*.jsonl")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_search_that_is_given_up_ends() -> None:
    for number in range(5):
        sent(f"{number}")
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    assert len(list(history.entries(should_stop=should_stop))) <= 2


def test_a_disk_that_refuses_is_one_clear_error(home: Path) -> None:
    home.mkdir()
    (home / "history").write_text("a file where the folder would be")
    with pytest.raises(StorageError):
        sent("nowhere")
