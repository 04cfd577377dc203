"""Evaluations on disk: whole lines only, one writer, lazy reading, search."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import RunError, StorageError
from workbench.store.evaluations import (
    Evaluation,
    evaluation_called,
    evaluations_dir,
    find_evaluation,
    list_evaluations,
)
from workbench.store.json_lines import LinesWriter, Taken, parsed, whole_lines
from workbench.store.transcripts import Transcripts


def make(name: str, time: float = 0.0) -> Evaluation:
    evaluation = evaluation_called(name)
    evaluation.write_settings({"name": name})
    os.utime(evaluation.settings_path, (time, time))
    return evaluation


def test_a_torn_line_is_dropped_by_the_writer_and_unseen_by_readers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with LinesWriter(path) as writer:
        writer.write({"n": 1})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"n": 2, "text": "' + b"x" * 200_000)
    assert [parsed(line) for _, line in whole_lines(path)] == [{"n": 1}]
    with LinesWriter(path) as writer:
        assert path.read_bytes() == whole
        writer.write({"n": 3})
    assert [parsed(line) for _, line in whole_lines(path)] == [{"n": 1}, {"n": 3}]
    path.write_bytes(b'{"n"')
    LinesWriter(path).close()
    assert path.read_bytes() == b""


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    with LinesWriter(tmp_path / "a.jsonl"), pytest.raises(Taken):
        LinesWriter(tmp_path / "a.jsonl")
    LinesWriter(tmp_path / "a.jsonl").close()
    with pytest.raises(StorageError):
        LinesWriter(tmp_path)


def test_a_full_disk_is_said_and_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write = tmp_path / "a.jsonl", os.write
    with LinesWriter(path) as writer:
        writer.write({"n": 1})
        with monkeypatch.context() as context:
            context.setattr(os, "write", lambda descriptor, line: write(descriptor, line[:4]))
            with pytest.raises(StorageError, match="the disk is full"):
                writer.write({"n": 2})
        writer.write({"n": 3})
    assert path.read_bytes() == b'{"n":1}\n{"n":3}\n'


def test_what_json_cannot_hold_is_written_all_the_same(tmp_path: Path) -> None:
    with LinesWriter(tmp_path / "a.jsonl") as writer:
        writer.write({"text": "\ud800", "large": 2**70, "nothing": float("nan"), "line": "\u2028\n\x1b"})
        writer.write({"nothing": float("nan")})
    first, second = (parsed(line) or {} for _, line in whole_lines(tmp_path / "a.jsonl"))
    assert (
        first["nothing"] is None
        and first["text"] == "?"
        and first["large"] == 2**70
        and first["line"] == "\u2028\n\x1b"
    )
    assert second == {"nothing": None}


def test_transcripts_are_read_one_by_one_while_the_file_grows(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    transcripts = Transcripts(path)
    assert transcripts.refresh() == 0 and len(transcripts) == 0
    with LinesWriter(path) as writer:
        for number in range(5):
            writer.write({"id": str(number)})
        assert transcripts.refresh() == 5
        writer.write({"id": "5"})
        assert transcripts.refresh() == 1 and transcripts.refresh() == 0
    assert transcripts.read(5) == {"id": "5"} and transcripts.read(0) == {"id": "0"}
    with path.open("ab") as file:
        file.write(b"not json\n[1]\n{")
    assert transcripts.refresh() == 2
    assert transcripts.read(6) == {} and transcripts.read(7) == {}
    assert [record.get("id") for record in transcripts][4:] == ["4", "5", None, None]
    with pytest.raises(IndexError):
        transcripts.read(8)


def test_many_transcripts_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    line = json.dumps({"id": "1", "text": "x" * 900}).encode() + b"\n"
    path.write_bytes(line * 100_000)
    transcripts = Transcripts(path)
    tracemalloc.start()
    assert transcripts.refresh() == 100_000
    assert transcripts.read(99_999)["id"] == "1"
    assert next(iter(transcripts))["id"] == "1"
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4_000_000


def test_search_looks_in_values_whatever_their_case(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    records: list[dict[str, Any]] = [
        {"question": "Where is PARIS?", "trace": []},
        {"question": "a", "trace": [{"content": {"text": 'said "Été"\nand left'}}]},
        {"question": "trace", "cost": {"requests": 42}},
        {"text": "ok", "flag": True},
    ]
    with LinesWriter(path) as writer:
        for record in records:
            writer.write(record)
    transcripts = Transcripts(path)
    transcripts.refresh()
    for text, found in (("paris", [0]), ('"été"\nAND', [1]), ("trace", [2]), ("42", [2]), ("true", [])):
        assert list(transcripts.search(text)) == found
    assert list(transcripts.search("a", start=1)) == [1, 2]
    assert list(transcripts.search("a", start=9)) == []


def test_evaluations_are_listed_and_found() -> None:
    assert list_evaluations() == []
    make("old", 1.0), make("new", 2.0)
    (evaluations_dir() / "no-evaluation").mkdir()
    assert [evaluation.name for evaluation in list_evaluations()] == ["new", "old"]
    assert find_evaluation("old").settings() == {"name": "old"}
    assert find_evaluation(str(evaluations_dir() / "old")).name == "old"
    with pytest.raises(RunError, match="no evaluation called “olds”") as caught:
        find_evaluation("olds")
    assert caught.value.hint == "did you mean old?"
    for name in ("", "../x", "a/b", ".hidden"):
        with pytest.raises(RunError, match="cannot be the name"):
            evaluation_called(name)


def test_a_summary_says_when_its_process_is_gone() -> None:
    evaluation = make("one")
    assert evaluation.summary() == {}
    evaluation.write_summary({"state": "running", "done": 3})
    assert evaluation.summary()["state"] == "running"
    value = json.loads(evaluation.summary_path.read_text())
    value["process"]["start"] += 1
    evaluation.summary_path.write_text(json.dumps(value))
    assert evaluation.summary()["state"] == "lost" and evaluation.summary()["done"] == 3
    value["state"] = "finished"
    evaluation.summary_path.write_text(json.dumps(value))
    assert evaluation.summary()["state"] == "finished"
    evaluation.summary_path.write_text("[1]")
    assert evaluation.summary() == {}
    evaluation.settings_path.write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        evaluation.settings()
