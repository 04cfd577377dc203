"""Any record of a source, whatever was looked at before, and where a word stands."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workbench.data.browse import EVERY, Browser
from workbench.data.readers import file_records
from workbench.errors import DataError
from workbench.recipe import SourceSpec

COUNT = 300
TEXTS = [f"record {number}" + "\nü, more" * (number % 5) for number in range(COUNT)]


def _csv(delimiter: str, header: bool = True) -> str:
    head = f"text{delimiter}label\n" if header else ""
    return head + "".join(f'"{text}"{delimiter}{n % 2}\r\n' for n, text in enumerate(TEXTS))


def _write(folder: Path, name: str) -> Path:
    path = folder / name
    records = [{"text": text, "label": n % 2} for n, text in enumerate(TEXTS)]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path, row_group_size=70)
    elif path.suffix == ".json":
        path.write_text(json.dumps(records))
    elif path.suffix == ".conll":
        path.write_text("\n".join(f"record O\n{n} B-N\n" for n in range(COUNT)))
    elif ".csv" in name or ".tsv" in name:
        text = _csv("\t" if ".tsv" in name else ",")
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    else:
        path.write_text("\ufeff" + "\n\n".join(json.dumps(record) for record in records))
    return path


FORMATS = ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.csv.gz", "a.parquet", "a.conll"]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("counted", [True, False])
def test_any_page_is_what_reading_through_gives(tmp_path: Path, name: str, counted: bool) -> None:
    browser = Browser(SourceSpec(path=str(_write(tmp_path, name))))
    expected = list(browser.source.records())
    assert len(expected) == COUNT
    if counted:
        assert browser.count() == COUNT
        assert browser.is_counted
    for start in (250, 0, EVERY, EVERY - 1, 299, 128, 148, 3, 300, 1000):
        assert browser.records(start, 20) == expected[start : start + 20]
    assert browser.count() == browser.known == COUNT


def test_a_record_far_in_is_read_without_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": str(n)}) + "\n" for n in range(2000)))
    browser = Browser(SourceSpec(path=str(path)))
    assert browser.count() == 2000
    read = 0

    def counting(*arguments: Any, **named: Any) -> Any:
        nonlocal read
        for found in file_records(*arguments, **named):
            read += 1
            yield found

    monkeypatch.setattr("workbench.data.browse.file_records", counting)
    (record,) = browser.records(1900, 1)
    assert (record.values["text"], record.where) == ("1900", f"{path}:1901")
    assert 0 < read <= EVERY
    assert [record.values["text"] for record in browser.records(1901, 2)] == ["1901", "1902"]
    assert read <= EVERY + 2


def test_several_files_are_one_after_the_other(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
        _write(tmp_path, name)
    browser = Browser(SourceSpec(path=str(tmp_path)))
    assert [Path(r.where.rpartition(":")[0]).name for r in browser.records(299, 2)] == ["a.jsonl", "b.jsonl"]
    assert browser.records(700, 1)[0].values["text"] == TEXTS[100]
    assert not browser.is_counted
    assert browser.known >= 700
    assert browser.count() == 900
    order = list(range(0, 900, 37))
    random.Random(0).shuffle(order)
    assert all(browser.records(n, 1)[0].values["text"] == TEXTS[n % COUNT] for n in order)
    assert [(path.name, size > 1000) for path, size in browser.files][2] == ("c.jsonl", True)


def test_limit_and_columns_of_the_source(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(_csv("\t", header=False))
    browser = Browser(SourceSpec(path=str(path), columns=["text", "label"], limit=150))
    assert browser.count() == 150
    assert len(browser.records(140, 20)) == 10
    assert browser.records(100, 1)[0].values == {"text": TEXTS[100], "label": "0"}
    assert browser.records(150, 1) == []
    assert browser.detected.kind == "classification"


def test_search_in_any_column_and_case(tmp_path: Path) -> None:
    browser = Browser(SourceSpec(path=str(_write(tmp_path, "a.csv"))))
    assert browser.search("RECORD 123") == 123
    assert browser.search("Ü,", 100) == 101
    assert browser.search("record 12", 13) == 120
    assert browser.search("nowhere") is None
    assert browser.search("record 1", 299) is None
    tagged = Browser(SourceSpec(path=str(_write(tmp_path, "a.conll"))))
    assert tagged.search("b-n", 7) == 7


def test_records_before_a_bad_one_can_be_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\nnot JSON\n')
    browser = Browser(SourceSpec(path=str(path)))
    assert [record.values["text"] for record in browser.records(0, 2)] == ["a", "b"]
    for _ in range(2):
        with pytest.raises(DataError) as caught:
            browser.records(1, 5)
        assert caught.value.where == f"{path}:3"
    with pytest.raises(DataError, match="not valid JSON"):
        browser.count()
    assert browser.known == 2
    assert browser.records(1, 1)[0].values["text"] == "b"


def test_text_files_are_records_of_their_own(tmp_path: Path) -> None:
    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text(name)
    browser = Browser(SourceSpec(path=str(tmp_path)))
    assert [record.values for record in browser.records(0, 9)] == [{"text": "a.md"}, {"text": "b.md"}]
    assert browser.detected.kind == "text"
