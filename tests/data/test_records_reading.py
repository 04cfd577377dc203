"""Records of every format come out under our names, and what is wrong with a source is said."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workbench.data.documents import Tally
from workbench.data.records import RecordSource
from workbench.data.sources import find_source
from workbench.errors import DataError
from workbench.recipe import SourceSpec

RECORDS = [{"text": "good\tfilm", "label": "1"}, {"text": 'a "bad"\none', "label": "0"}]


def source(path: Path, **fields: Any) -> RecordSource:
    return RecordSource.find(SourceSpec(path=str(path), **fields))


def read(path: Path, **fields: Any) -> list[dict[str, Any]]:
    return [record.values for record in source(path, **fields).records()]


def refused(path: Path, **fields: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        _ = source(path, **fields).detected
    return caught.value


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_every_format_gives_the_same_records_with_their_places(tmp_path: Path) -> None:
    lines = write(tmp_path / "a.jsonl", *RECORDS)
    (tmp_path / "a.json").write_text(json.dumps(RECORDS, indent=1))
    (tmp_path / "a.csv").write_text('text,label\ngood\tfilm,1\n"a ""bad""\none",0\n')
    (tmp_path / "a.tsv").write_text('text\tlabel\n"good\tfilm"\t1\n"a ""bad""\none"\t0\n')
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress((tmp_path / "a.tsv").read_bytes()))
    pq.write_table(pa.Table.from_pylist(RECORDS), tmp_path / "a.parquet")
    places = {"a.jsonl": (1, 2), "a.json": (2, 6), "a.csv": (2, 3), "a.tsv": (2, 3), "a.tsv.gz": (2, 3)}
    for name in (*places, "a.parquet"):
        found = list(source(tmp_path / name).records())
        assert [record.values for record in found] == RECORDS
        numbers = [int(record.where.rpartition(":")[2]) for record in found]
        assert tuple(numbers) == places.get(name, (1, 2))
    assert read(lines, limit=1) == RECORDS[:1]


def test_columns_are_renamed_and_another_of_that_name_gives_way(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"text": "no", "sentence": "yes", "y": 1, "id": 3})
    columns = {"text": "sentence", "label": "y"}
    assert read(path, columns=columns) == [{"text": "yes", "label": 1, "id": 3}]
    assert source(path, columns=columns).detected.kind == "classification"
    assert read(path, text_column="sentence") == [{"text": "yes", "y": 1, "id": 3}]
    assert read(path, columns={"text": "sentence", "text_pair": "sentence"})[0]["text_pair"] == "yes"
    # Pre-training reads the same column.
    spec = SourceSpec(path=str(path), columns=columns)
    assert [document.text for document in find_source(spec).documents(Tally())] == ["yes"]


def test_a_renamed_column_that_is_not_there(tmp_path: Path) -> None:
    error = refused(write(tmp_path / "a.jsonl", {"sentence": "a", "y": 1}), columns={"text": "sentense"})
    assert "no column “sentense”, which is named for text" in error.message
    assert error.hint == "columns: {text: sentence}"
    assert error.where.endswith("a.jsonl:1")


def test_a_file_without_a_header_line(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("a fine film\t1\na dull one\t0\nanother\t1\n")
    error = refused(path)
    assert "seems to have no header line" in error.message
    assert "columns: [text, label]" in error.hint
    records = read(path, columns=["text", "label"])
    assert records[0] == {"text": "a fine film", "label": "1"}
    assert len(records) == 3
    spec = SourceSpec(path=str(path), columns=["text", "label"])
    assert next(find_source(spec).documents(Tally())).text == "a fine film"
    # Labels that are words give it away by being repeated.
    path.write_text("a\tgood\nb\tbad\nc\tgood\n")
    assert "no header line" in refused(path).message
    path.write_text("sentence\tlabel\nb\tbad\n")
    assert "columns: {text: sentence}" in refused(path).hint


def test_names_in_a_list_are_for_delimited_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"text": "a"})
    assert "CSV and TSV" in refused(path, columns=["text"]).message
    (tmp_path / "a.csv").write_text("a,b,c\n")
    with pytest.raises(DataError, match="3 fields, there are names for 2"):
        read(tmp_path / "a.csv", columns=["text", "label"])


def test_conll_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("-DOCSTART- -X- O\n\nU.N. NNP B-ORG\nofficial NN O\n\n\nto:do VB O\r\n")
    found = list(source(path).records())
    assert [record.values for record in found] == [
        {"tokens": ["U.N.", "official"], "tags": ["B-ORG", "O"]},
        {"tokens": ["do"], "tags": ["O"]},
    ]
    assert [record.where for record in found] == [f"{path}:3", f"{path}:7"]
    assert source(path).detected.kind == "tagging"
    assert [d.text for d in find_source(SourceSpec(path=str(path))).documents(Tally())] == [
        "U.N. official",
        "do",
    ]


def test_a_text_file_of_words_and_tags_is_known_and_its_language_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("en:Berlin\tB-LOC\nen:is\tO\n\nen:to:do\tO\nen::\tO\n")
    assert read(path) == [
        {"tokens": ["Berlin", "is"], "tags": ["B-LOC", "O"]},
        {"tokens": ["to:do", ":"], "tags": ["O", "O"]},
    ]
    path.write_text("the DT\ndog NN\n")
    assert source(path).detected.kind == "text"
    assert read(path, kind="tagging") == [{"tokens": ["the", "dog"], "tags": ["DT", "NN"]}]
    path.write_text("the DT\ndog\n")
    with pytest.raises(DataError, match="no word and tag") as caught:
        read(path, kind="tagging")
    assert caught.value.where == f"{path}:2"


def test_conllu_gives_forms_and_universal_tags(tmp_path: Path) -> None:
    path = tmp_path / "a.conllu"
    rows = ["# text = vámonos al", "1-2\tvámonos" + "\t_" * 8, "1\tvamos\tir\tVERB" + "\t_" * 6,
            "2\tnos\tnosotros\tPRON" + "\t_" * 6, "2.1\tx\tx\tX" + "\t_" * 6, ""]  # fmt: skip
    path.write_text("\n".join(rows))
    assert read(path) == [{"tokens": ["vamos", "nos"], "tags": ["VERB", "PRON"]}]


def test_share_gpt_and_alpaca_become_kinds_of_our_own(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
    path = write(tmp_path / "a.jsonl", {"id": 1, "conversations": turns, "system": "be kind"})
    assert read(path) == [
        {
            "id": 1,
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "hello"},
            ],
        }
    ]
    assert source(path).detected.kind == "conversation"
    path = write(tmp_path / "b.jsonl", {"instruction": "add", "input": "1 1", "output": "2"})
    assert read(path) == [{"prompt": "add\n1 1", "completion": "2"}]
    assert source(path).detected.kind == "prompt_completion"
    record = {"instruction": "and 2?", "output": "4", "history": [["1?", "2"]], "system": "sums"}
    (messages,) = [record["messages"] for record in read(write(tmp_path / "c.jsonl", record))]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert messages[-1]["content"] == "4"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"conversations": [{"from": "elf", "value": "x"}]}, "turn 1 is from “elf”"),
        ({"conversations": [{"from": "human"}]}, "turn 1 is not a turn"),
        ({"conversations": "x"}, "a string, not a list"),
        ({"instruction": "a", "output": ["b"]}, "“output” holds a list"),
        ({"instruction": "a", "output": "b", "history": ["c"]}, "pairs of texts"),
    ],
)
def test_what_is_wrong_in_a_dialect_is_named(tmp_path: Path, record: object, message: str) -> None:
    error = refused(write(tmp_path / "a.jsonl", record))
    assert message in error.message
    assert error.where.endswith("a.jsonl:1")


def test_files_of_different_kinds_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", {"text": "a", "label": "b"})
    write(tmp_path / "b.jsonl", {"tokens": ["a"], "tags": ["O"]})
    error = refused(tmp_path)
    assert "classification in “a.jsonl”, tagging in “b.jsonl”" in error.message
    write(tmp_path / "b.jsonl", {"text": "a", "label": 0.5})
    assert source(tmp_path).detected.kind == "regression"


def test_names_of_labels_of_a_saved_data_set(tmp_path: Path) -> None:
    labels = datasets.ClassLabel(names=["bad", "good"])
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": labels, "tags": datasets.Sequence(labels)}
    )
    rows = {"text": ["a", "b"], "label": [1, -1], "tags": [[0, 1], []]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "saved"))
    found = read(tmp_path / "saved")
    assert [record["label"] for record in found] == ["good", None]
    assert found[0]["tags"] == ["bad", "good"]


@pytest.mark.parametrize(
    ("name", "content", "where", "message"),
    [
        ("a.jsonl", b'{"text": "a", "label": 1}\n[1]\n', ":2", "a list where a record was expected"),
        ("a.csv", b"text,label\na,1,2\n", ":2", "3 fields, the header has 2"),
        ("a.csv", b"text,text\na,1\n", ":1", "stands twice in the header"),
        ("a.csv", b"text,label\nok,1\n\xff,1\n", ":3", "byte 0xff at offset 16"),
        ("a.conll", b"a O\n\xff O\n", ":2", "byte 0xff at offset 4"),
        ("a.csv", b"text,label\n", "", "holds no records"),
        ("a.jsonl", b"\n\n", "", "holds no records"),
        ("a.jsonl", b"", "", "the file is empty"),
        ("a.json", b'"' + b"x" * (1 << 21) + b'"', ":1", "neither an array of records nor one record"),
        ("a.jsonl", b'{"text": "' + b"x" * (1 << 21), ":1", "not valid JSON"),
    ],
)  # fmt: skip
def test_bad_files(tmp_path: Path, name: str, content: bytes, where: str, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        found = source(path)
        _ = found.detected
    assert message in caught.value.message
    assert caught.value.where == f"{path}{where}"
