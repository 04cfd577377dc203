"""Every format yields its texts, and whatever is wrong with a file is named with its place."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workbench.data.documents import Tally
from workbench.data.readers import text as text_reader
from workbench.data.sources import find_source
from workbench.errors import DataError
from workbench.recipe import SourceSpec

TEXTS = ["plain", "line\nbreak, comma\tand tab", 'quotes " and “quotes”', "emoji 🧪 中文", " spaces "]


def read(
    path: object, column: str = "text", tally: Tally | None = None, limit: int | None = None
) -> list[str]:
    spec = SourceSpec(path=str(path), text_column=column, limit=limit)
    return [document.text for document in find_source(spec).documents(tally or Tally())]


def refused(path: object, column: str = "text") -> DataError:
    with pytest.raises(DataError) as caught:
        read(path, column)
    return caught.value


def json_lines(texts: list[str]) -> bytes:
    return b"".join(json.dumps({"id": 1, "text": text}).encode() + b"\n" for text in texts)


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def delimited(delimiter: str) -> bytes:
    quoted = ['"' + text.replace('"', '""') + '"' for text in TEXTS]
    return (
        "".join(f"{left}{delimiter}{right}\n" for left, right in [("id", "text")]).encode()
        + "".join(f"1{delimiter}{text}\r\n" for text in quoted).encode()
    )


FILES = {
    "a.jsonl": json_lines(TEXTS),
    "a.jsonl.gz": gzip.compress(json_lines(TEXTS)),
    "a.jsonl.zst": zstd(json_lines(TEXTS)),
    "bom.jsonl": b"\xef\xbb\xbf" + json_lines(TEXTS),
    "gaps.jsonl": json_lines(TEXTS).replace(b"\n", b"\n\n  \n"),
    "a.json": json.dumps([{"text": text} for text in TEXTS], indent=1, ensure_ascii=False).encode(),
    "lines.json": json_lines(TEXTS),
    "a.csv": delimited(","),
    "a.tsv.gz": gzip.compress(delimited("\t")),
}


@pytest.mark.parametrize("name", FILES)
def test_a_format_yields_its_texts(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    assert read(path) == TEXTS
    assert read(path, limit=2) == TEXTS[:2]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet_yields_its_column_and_counts_null_as_blank(tmp_path: Path, kind: pa.DataType) -> None:
    path, tally = tmp_path / "a.parquet", Tally()
    column = pa.array([*TEXTS, None], pa.string()).cast(kind)
    pq.write_table(pa.table({"text": column, "n": list(range(6))}), path, row_group_size=2)
    assert read(path, tally=tally) == TEXTS
    assert tally.blank == 1


def test_zstd_of_several_frames_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(zstd(json_lines(TEXTS[:2])) + zstd(json_lines(TEXTS[2:])))
    assert read(path) == TEXTS


@pytest.mark.parametrize("suffix", [".txt", ".md", ".py", ".rst", ".unknown"])
def test_a_text_file_is_one_document(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes("\ufefffirst\r\nsecond 🧪\n".encode())
    assert read(path) == ["first\r\nsecond 🧪\n"]


def test_a_long_text_file_is_cut_at_lines_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_reader, "BLOCK", 100)
    path, tally = tmp_path / "a.txt", Tally()
    content = "".join(f"line {number} ü\n" for number in range(50)) + "€" * 200
    path.write_text(content)
    parts = read(path, tally=tally)
    assert "".join(parts) == content
    assert max(len(part.encode()) for part in parts) <= 100
    assert parts[0].endswith("\n")
    assert tally.cut_files == 1


def test_a_json_array_larger_than_what_is_read_at_once(tmp_path: Path) -> None:
    texts = [f"{number} " + 'ü\\"\n' * (number * 997 % 70_000) for number in range(40)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"text": text} for text in texts]))
    assert read(path) == texts


def test_blank_documents_are_counted_and_lone_surrogates_replaced(tmp_path: Path) -> None:
    path, tally = tmp_path / "a.jsonl", Tally()
    path.write_text('{"text": ""}\n{"text": " \\n"}\n{"text": null}\n{"text": "a\\ud800b \\ud83e\\uddea"}\n')
    assert read(path, tally=tally) == ["a\ufffdb 🧪"]
    assert (tally.blank, tally.repaired) == (3, 1)


def test_json_that_python_writes_and_the_standard_forbids(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "score": NaN}\n')
    assert read(path) == ["a"]


@pytest.mark.parametrize(
    ("name", "content", "where", "message", "hint"),
    [
        ("a.jsonl", b'{"text": "a"}\n\n{"text": "b"\n', ":3", "not valid JSON", "complete record"),
        ("a.jsonl", b'{"text": "a"}\n["b"]\n', ":2", "a list where a record was expected", "mapping"),
        ("a.jsonl", b'{"body": "a", "n": 1}\n', ":1", "no column “text”; the columns are body, n", "body"),
        ("a.jsonl", b'{"text": ["a"]}\n', ":1", "holds a list, not text", "text_column"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', ":2", "byte 0xff at offset 24", "UTF-8"),
        ("a.jsonl", b'{"text": ' + b"[" * 100_000 + b"\n", ":1", "nested too deeply", ""),
        ("a.json", b'[{"text": "a"},\n {"text": "b"}\n {"text": "c"}]', ":3", "expected a comma", ""),
        ("a.json", b'[{"text": "a"},\n {"text": "b"', ":2", "not valid JSON", ""),
        ("a.json", b'[{"text": "a"},\n {"text" "b"}' + b" " * 100 + b"]", ":2", "Expecting ':'", ""),
        ("a.json", b'[{"text": "a"}]\n x', ":2", "after the end of the array", ""),
        ("a.json", b'\n"text"', ":2", "neither an array of records nor one record a line", "JSON Lines"),
        ("a.json", b'{\n "text": "a"}', ":1", "neither an array of records nor one record a line", ""),
        ("a.json", b'[{"text": "a"}, {"body": "b"}]', ":1", "the columns are body", "text_column: body"),
        ("a.csv", b"id,body\n1,a\n", ":1, the header line", "the columns are id, body", "text_column"),
        ("a.csv", b"id,text\n1,a\n2,b,c\n", ":3", "3 fields, the header has 2", "double quotes"),
        ("a.csv", b'id,text\n1,a\n2,"b\nc', ":3", "cannot be read", "quotes"),
        ("a.tsv", b'text\tid\n"a" b\t1\n', ":2", "cannot be read", "quotes"),
        ("a.csv", b"text\nok\n\xe9\n", ":3", "byte 0xe9 at offset 8", "iconv"),
        ("a.txt", b"abc\n\xff\xfe", "", "byte 0xff at offset 4", "iconv"),
        ("a.txt", b"abc\0def", "", "byte 0x00 at offset 3", ""),
        ("a.txt", "UTF-16".encode("utf-16"), "", "not UTF-8 text", "UTF-16"),
        ("a.txt", b"", "", "empty", ""),
        ("a.bin", b"\x7fELF\0\0", "", "“.bin” is no format", ".jsonl"),
        ("a.parquet", b"PAR1 no", "", "no sound Parquet file", ""),
        ("a.jsonl.gz", b"plain", "", "no sound gzip file", ""),
        ("a.jsonl.gz", gzip.compress(json_lines(TEXTS * 99))[:-20], "", "ends in the middle", "again"),
        ("a.jsonl.zst", zstd(json_lines(TEXTS * 99))[:-20], "", "ends in the middle", "again"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, name: str, content: bytes, where: str, message: str, hint: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    error = refused(path)
    assert message in error.message
    assert error.where == f"{path}{where}"
    assert hint in error.hint


def test_parquet_without_the_column_or_with_another_type(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": ["a"], "n": [1]}), path)
    assert "text_column: body" in refused(path).hint
    error = refused(path, "n")
    assert "holds int64, not text" in error.message
    assert "body" in error.hint


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a")

    def refuse(*arguments: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied")

    source = find_source(SourceSpec(path=str(path)))
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match="no permission") as caught:
        list(source.documents(Tally()))
    assert caught.value.where == str(path)
