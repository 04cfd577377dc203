"""Examples from files: formats, columns, GSM8K's rationales, and what is said about mistakes."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from workbench.errors import DataError, PromptError
from workbench.prompting.examples import Columns, read_examples, split_rationale

GSM8K = "She sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs.\nShe makes 9 * 2 = $<<9*2=18>>18.\n#### 18"


def test_json_lines_with_a_rationale_inside_the_answer(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(
        json.dumps({"question": "Eggs?", "answer": GSM8K}) + "\n\n" + '{"question": "Q", "answer": 7}\n'
    )
    eggs, other = read_examples(str(path), Columns())
    assert (eggs.id, eggs.row, eggs.question, eggs.answer) == ("0", 0, "Eggs?", "18")
    assert eggs.rationale == "She sells 16 - 3 - 4 = 9 eggs.\nShe makes 9 * 2 = $18."
    assert (other.row, other.answer, other.rationale) == (1, "7", "")
    assert eggs.columns["answer"] == GSM8K


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("#### 5", ("", "5")),
        ("a\n  ####5  ", ("a", "5")),
        ("5", ("", "5")),
        ("no mark #### 5", ("", "no mark #### 5")),
        ("#### Title\nand text", ("", "#### Title\nand text")),
        ("1 << 2 = 4 >> 3\n#### 4", ("1 << 2 = 4 >> 3", "4")),
        ("<<1+1=2>>2\n#### 2\n", ("2", "2")),
    ],
)
def test_rationales_end_at_the_mark_and_lose_the_calculations(text: str, parts: tuple[str, str]) -> None:
    assert split_rationale(text) == parts


def test_csv_and_tsv_with_named_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        'id,text,label,why\nr1,"two, ""quoted""\nlines",pos,because\n', encoding="utf-8-sig"
    )
    columns = Columns(question="text", answer="label", rationale="why", id="id")
    [example] = read_examples(str(tmp_path / "a.csv"), columns)
    assert (example.id, example.question) == ("r1", 'two, "quoted"\nlines')
    assert (example.answer, example.rationale) == ("pos", "because")
    (tmp_path / "b.tsv").write_text("a charming film\t1\n\ndull\t0\n")
    found = read_examples(str(tmp_path / "b.tsv"), Columns(question="s", answer="l"), ["s", "l"])
    assert [(example.question, example.answer) for example in found] == [
        ("a charming film", "1"),
        ("dull", "0"),
    ]


def test_parquet_is_read_and_what_is_no_text_is_json(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    day = datetime.date(2026, 1, 2)
    pq.write_table(pa.table({"question": ["When?"], "answer": [day]}), tmp_path / "a.parquet")
    [example] = read_examples(str(tmp_path / "a.parquet"), Columns())
    assert (example.question, example.answer) == ("When?", '"2026-01-02"')


def test_files_are_found_beside_the_prompts(home: Path) -> None:
    (home / "prompts").mkdir(parents=True)
    (home / "prompts" / "mine.jsonl").write_text('{"question": "q", "answer": "a"}')
    assert len(read_examples("mine.jsonl", Columns())) == 1


@pytest.mark.parametrize(
    ("name", "content", "message", "where"),
    [
        ("a.jsonl", b'{"question": "q", "answer": "a"}\n{"question"\n', "not JSON", "a.jsonl:2"),
        ("a.jsonl", b"[1]\n", "not a JSON object", "a.jsonl:1"),
        ("a.jsonl", b'{"questoin": "q", "answer": "a"}\n', "no column “question”", "a.jsonl:1"),
        ("a.jsonl", b"\n", "no examples", "a.jsonl"),
        ("a.jsonl", b'{"question": "\xff"}\n', "byte 14 is not UTF-8", "a.jsonl"),
        ("a.jsonl", b"[" * 100_000, "not JSON", "a.jsonl:1"),
        ("a.csv", b"question,answer\na\n", "has 1 fields, 2 columns", "a.csv:2"),
        ("a.csv", b'question,answer\n"a" b,c\n', "cannot be read", "a.csv:2"),
    ],
)
def test_broken_files_are_explained(
    tmp_path: Path, name: str, content: bytes, message: str, where: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_examples(str(tmp_path / name), Columns())
    assert caught.value.where.endswith(where)


def test_the_nearest_column_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"questoin": "q", "answer": "a"}')
    with pytest.raises(DataError) as caught:
        read_examples(str(tmp_path / "a.jsonl"), Columns())
    assert caught.value.hint == "did you mean questoin?"


@pytest.mark.parametrize("name", ["missing.jsonl", "examples.pkl", "folder"])
def test_other_files_are_refused(name: str) -> None:
    with pytest.raises(PromptError, match="file of examples"):
        read_examples(name, Columns())
