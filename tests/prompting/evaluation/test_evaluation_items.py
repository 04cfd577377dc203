"""Reading data sets: formats, columns, references, and what is said of bad ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import DataError
from workbench.prompting.answers import Answer
from workbench.prompting.evaluation.items import DataSet, read_items, sampled
from workbench.prompting.evaluation.references import is_right, references_of
from workbench.prompting.prompt import parse_prompt

PROMPT = parse_prompt('user: "{{ question }}"', "p")
NUMBER = Answer(kind="number")


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_gsm8k_is_read_as_it_is(sums: Callable[[int], Path]) -> None:
    items = read_items(DataSet(sums(3), answer="answer"), PROMPT, NUMBER)
    assert [(item.id, item.references) for item in items] == [("0", ("0",)), ("1", ("2",)), ("2", ("4",))]
    assert items[2].variables == {"question": "What is 2 + 2?"}
    assert items[2].where.endswith("sums.jsonl:3")


@pytest.mark.parametrize(
    ("name", "text", "header"),
    [
        ("a.csv", 'question,answer\n"one, two",1\n"three ""3""",3\n', ()),
        ("a.tsv", 'question\tanswer\none, two\t1\n"three ""3"""\t3\n', ()),
        ("a.csv", '"one, two",1\n"three ""3""",3\n', ("question", "answer")),
        (
            "a.ndjson",
            '{"question": "one, two", "answer": 1}\n\n{"question": "three \\"3\\"", "answer": "3.0"}\n',
            (),
        ),
    ],
)
def test_every_format_gives_the_same_items(
    tmp_path: Path, name: str, text: str, header: tuple[str, ...]
) -> None:
    data = DataSet(write(tmp_path / name, text), header=header, answer="answer")
    items = read_items(data, PROMPT, NUMBER)
    assert [item.variables["question"] for item in items] == ["one, two", 'three "3"']
    assert [item.references for item in items] == [("1",), ("3",)]


def test_parquet_is_read(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"question": ["a", "b"], "answer": [1.5, 2.0], "options": [["x", "y"], ["z"]]}), path
    )
    items = read_items(DataSet(path, answer="answer"), PROMPT, NUMBER)
    assert [item.references for item in items] == [("1.5",), ("2",)]
    assert items[0].variables["options"] == ["x", "y"]


@pytest.mark.parametrize(
    ("name", "text", "message", "where"),
    [
        ("a.jsonl", '{"question": "a", "answer": 1}\n{oops\n', "not JSON", "a.jsonl:2"),
        ("a.jsonl", "[1]\n", "not a JSON object", "a.jsonl:1"),
        ("a.jsonl", '{"question": "a", "answer": 1}\n{"question": "b"}\n', "no column “answer”", "a.jsonl:2"),
        ("a.jsonl", '{"question": "a", "answer": null}\n', "nothing in column “answer”", "a.jsonl:1"),
        ("a.jsonl", '{"Question": "a", "answer": 1}\n', "needs a value for question", "a.jsonl:1"),
        ("a.jsonl", '{"question": "a", "answer": "many"}\n', "“many” is not a number", "a.jsonl:1"),
        ("a.jsonl", "", "no rows", "a.jsonl"),
        ("a.csv", "question,answer\n\na,1\nb\n", "1 fields, 2 columns", "a.csv:4"),
        ("a.csv", 'question,answer\n"a\nb",1\n"x"y,2\n', "cannot be read", "a.csv:4"),
        ("a.txt", "a", "no data set", "a.txt"),
    ],
)
def test_a_bad_file_is_told_with_its_line(
    tmp_path: Path, name: str, text: str, message: str, where: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_items(DataSet(write(tmp_path / name, text), answer="answer"), PROMPT, NUMBER)
    assert caught.value.where.endswith(where)


def test_a_missing_file_and_a_binary_one_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_items(DataSet(tmp_path / "none.jsonl"), PROMPT, None)
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a text file"):
        read_items(DataSet(tmp_path / "b.jsonl"), PROMPT, None)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="no sound Parquet"):
        read_items(DataSet(tmp_path / "b.parquet"), PROMPT, None)


def test_columns_are_mapped_and_the_answer_is_never_a_variable(tmp_path: Path) -> None:
    prompt = parse_prompt("user: \"{{ text }} {{ answer | default('?') }} {{ language }}\"", "p")
    path = write(tmp_path / "a.jsonl", '{"id": "x", "review": "good", "answer": "1"}\n')
    data = DataSet(path, {"text": "review"}, answer="answer", id="id", names={"1": "positive"})
    answer = Answer(kind="choice", options=("negative", "positive"))
    (item,) = read_items(data, prompt, answer, {"language": "English"})
    assert item.id == "x" and item.references == ("positive",)
    assert prompt.render(item.variables).messages[-1]["content"] == "good ? English"


def test_ids_are_all_different(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"id": 1, "question": "a"}\n{"id": 1, "question": "b"}\n')
    with pytest.raises(DataError, match="stands twice") as caught:
        read_items(DataSet(path, id="id"), PROMPT, None)
    assert caught.value.where.endswith(":2") and caught.value.hint.endswith(":1")


def test_a_larger_sample_holds_the_smaller_one(sums: Callable[[int], Path]) -> None:
    items = read_items(DataSet(sums(50)), PROMPT, None)
    small, large = sampled(items, 5, 7), sampled(items, 20, 7)
    assert len(small) == 5 and {item.id for item in small} < {item.id for item in large}
    assert [item.row for item in large] == sorted(item.row for item in large)
    assert small != sampled(items, 5, 8)
    assert len(read_items(DataSet(sums(50)), PROMPT, None, first=4)) == 4


@pytest.mark.parametrize(
    ("value", "answer", "names", "wanted"),
    [
        ("$1,234.50", NUMBER, {}, ("1234.5",)),
        ("so 3 + 4 = 7\n#### 7", NUMBER, {}, ("7",)),
        (42, NUMBER, {}, ("42",)),
        ("b", Answer(kind="choice"), {}, ("B",)),
        (1, Answer(kind="choice"), {"1": "C"}, ("C",)),
        ("Positive", Answer(kind="choice", options=("negative", "positive")), {}, ("positive",)),
        (True, Answer(kind="yes_no"), {}, ("yes",)),
        ("No.", Answer(kind="yes_no"), {}, ("no",)),
        (["Paris", "the city of Paris"], Answer(kind="text"), {}, ("Paris", "the city of Paris")),
        ({"text": ["a", "b", "a"], "answer_start": [1, 2, 1]}, Answer(kind="text"), {}, ("a", "b")),
        ({"total": 3, "x": 1}, Answer(kind="json", field="total"), {}, ("3",)),
        ('{"total": 3}', Answer(kind="json", field="total"), {}, ("3",)),
        (3, Answer(kind="json", field="total"), {}, ("3",)),
        ([1, 2], Answer(kind="json"), {}, ("[1, 2]",)),
    ],
)
def test_references_come_in_the_form_answers_have(
    value: Any, answer: Answer, names: dict[str, str], wanted: tuple[str, ...]
) -> None:
    assert references_of(value, answer, names, "here") == wanted


@pytest.mark.parametrize(
    ("value", "answer"),
    [(0, Answer(kind="choice")), ("maybe", Answer(kind="yes_no")), ("", Answer(kind="text"))],
)
def test_what_is_no_answer_of_the_kind_is_refused(value: Any, answer: Answer) -> None:
    with pytest.raises(DataError, match="is not") as caught:
        references_of(value, answer, {}, "a.jsonl:9")
    assert caught.value.where == "a.jsonl:9" and "--map" in caught.value.hint


def test_an_answer_may_be_any_of_the_references() -> None:
    assert is_right("The Paris", ("London", "paris"), Answer(kind="text"))
    assert not is_right(None, ("London",), Answer(kind="text"))
    assert is_right("24.0", ("24",), NUMBER) and not is_right("24.1", ("24",), NUMBER)


def test_a_line_may_be_long(tmp_path: Path) -> None:
    long = "x" * 300_000
    path = write(tmp_path / "a.csv", f"question,answer\n{long},1\n")
    assert read_items(DataSet(path), PROMPT, None)[0].variables["question"] == long
    path = write(tmp_path / "a.jsonl", json.dumps({"question": long}) + "\n")
    assert read_items(DataSet(path), PROMPT, None)[0].variables["question"] == long
