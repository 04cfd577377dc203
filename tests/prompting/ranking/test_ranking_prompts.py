"""Prompts and completions from files: what is taken, what is left out, and where a file is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workbench.errors import DataError
from workbench.prompting.ranking.completions import create_from_completions, read_completions
from workbench.prompting.ranking.prompts import read_prompts
from workbench.store.preferences.contents import read_answers, read_items
from workbench.store.preferences.database import Database

USER = {"role": "user", "content": "hello"}
ASSISTANT = {"role": "assistant", "content": "hi"}
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A JSONL file of some rows."""

    def make(*rows: Any, name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return make


def test_a_conversation_is_a_prompt_up_to_its_last_answer(write: Write) -> None:
    later = [USER, ASSISTANT, {"role": "user", "content": "and now?"}]
    found = read_prompts(write({"messages": [USER, ASSISTANT]}, {"messages": [*later, ASSISTANT]}))
    assert [prompt.content for prompt in found.prompts] == [[USER], later]
    assert (found.column, found.cut) == ("messages", 2)
    assert found.in_words() == "2 prompts from the column “messages”, the last answers of 2 left out"


def test_what_stands_twice_is_taken_once_and_the_limit_counts_what_is_taken(write: Write) -> None:
    path = write(*({"prompt": text} for text in ("a", "a", "b", "c")))
    found = read_prompts(path, limit=2, system="be brief")
    assert [(prompt.content, prompt.system) for prompt in found.prompts] == [
        ("a", "be brief"),
        ("b", "be brief"),
    ]
    assert found.repeated == 1


def test_system_messages_of_the_rows_come_before_the_one_that_is_given(write: Write) -> None:
    system = {"role": "system", "content": "a pirate"}
    path = write({"prompt": "a", "system": "a poet"}, {"prompt": [system, USER]}, {"prompt": "b"})
    found = read_prompts(path, system="a clerk").prompts
    assert [prompt.system for prompt in found] == ["a poet", None, "a clerk"]


def test_other_shapes(write: Write, tmp_path: Path) -> None:
    shared = {"conversations": [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "hi"}]}
    assert read_prompts(write(shared)).prompts[0].content == [USER]
    alpaca = write({"instruction": "Shorten.", "input": "A long text.", "output": "A text."})
    assert read_prompts(alpaca).prompts[0].content == "Shorten.\n\nA long text."
    (tmp_path / "lines.txt").write_text("one\n\n  two \n")
    assert [one.content for one in read_prompts(tmp_path / "lines.txt").prompts] == ["one", "two"]
    (tmp_path / "chats.csv").write_text(
        f'id,messages\n1,"{json.dumps([USER]).replace(chr(34), chr(34) * 2)}"\n'
    )
    assert read_prompts(tmp_path / "chats.csv").prompts[0].content == [USER]
    pq.write_table(pa.table({"question": ["why?"]}), tmp_path / "q.parquet")
    assert read_prompts(tmp_path / "q.parquet", column="question").prompts[0].content == "why?"
    (tmp_path / "array.json").write_text(json.dumps([{"prompt": "a"}, {"prompt": "b"}]))
    assert len(read_prompts(tmp_path / "array.json").prompts) == 2


@pytest.mark.parametrize(
    ("rows", "words", "line"),
    [
        ([{"prompt": "a"}, {"prompt": " "}], "the prompt is empty", 2),
        ([{"prompt": "a"}, {"promt": "b"}], "the row has no column “prompt”", 2),
        ([{"prompt": 3}], "neither a text nor messages", 1),
        ([{"question": "a"}], "none of the columns question is known to hold prompts", 1),
        ([{"messages": [ASSISTANT]}], "nobody asks anything", 1),
        ([{"messages": "not json"}], "neither messages nor their JSON", 1),
        ([3], "not a JSON object", 1),
    ],
)
def test_a_wrong_file_is_told_by_its_line(write: Write, rows: list[Any], words: str, line: int) -> None:
    path = write(*rows)
    with pytest.raises(DataError, match=words) as caught:
        read_prompts(path)
    assert caught.value.where == f"{path}:{line}"


def test_a_file_that_is_none(write: Write, tmp_path: Path) -> None:
    for path, words in (
        (tmp_path, "folder"),
        (tmp_path / "no.jsonl", "no such file"),
        (write({"prompt": "a"}, name="rows.docx"), "no file of prompts"),
        (write(name="empty.jsonl"), "holds no prompts"),
    ):
        with pytest.raises(DataError, match=words):
            read_prompts(path)


def test_completions_go_together_by_their_prompt(write: Write) -> None:
    path = write(
        {"prompt": "a", "completion": "1", "model": "x"},
        {"prompt": "b", "completion": "2", "model": "x"},
        {"prompt": "a", "completion": "3", "model": "y", "finish_reason": "length", "tokens": 7},
        {"prompt": "b", "completion": "4", "model": "y", "sampling": {"temperature": 1}},
        {"prompt": "c", "completions": ["5", "6", "5"], "models": ["x", "y", "y"]},
    )
    with Database() as database:
        session, items = create_from_completions(database, "s", path, seed=1)
        assert items == 3
        found = [
            [read_answers(database, item.answers)[number] for number in item.answers]
            for item in read_items(database, session.id)
        ]
    assert [[(one.model, one.content) for one in answers] for answers in found] == [
        [("x", "1"), ("y", "3")],
        [("x", "2"), ("y", "4")],
        [("x", "5"), ("y", "6"), ("y", "5")],
    ]
    assert (found[0][1].finish_reason, found[0][1].tokens) == ("length", 7)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"prompt": "a", "completions": ["1", "2"], "ranks": [1, 2]}], "ranked already"),
        ([{"prompt": "a", "completion": "1", "model": "x"}], "only this completion of its prompt"),
        ([{"prompt": "a", "completion": str(n)} for n in range(10)], "the prompt has 10 completions"),
        ([{"prompt": "a", "completions": ["1"] * 10}], "10 answers cannot be ranked"),
        ([{"prompt": "a", "model": "x"}], "hold no completion"),
        ([{"completion": "1", "model": "x"}], "“prompt” is missing"),
    ],
)
def test_completions_that_cannot_be_ranked(write: Write, rows: list[Any], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read_completions(write(*rows))
    assert caught.value.where.endswith(":1")
