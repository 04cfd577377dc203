"""Tokens are made once: a second start reads nothing, and nothing half-made is ever taken."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workbench.data import Prepared
from workbench.data import encode as encode_module
from workbench.data.artifact import UNFINISHED, build_once
from workbench.data.sources import Source
from workbench.data.token_store import TokenWriter
from workbench.errors import DataError, StorageError

PrepareData = Callable[..., Prepared]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("".join(f"line {number} of the text\n" for number in range(500)))
    return path


def folders(tmp_path: Path, kind: str) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache" / kind).iterdir() if path.name != ".locks")


def test_a_second_start_reads_no_source(
    corpus: Path, prepare_data: PrepareData, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare_data(sources=str(corpus))
    assert not first.report["cached"]

    def fail(*arguments: Any) -> None:
        raise AssertionError("a source was read")

    monkeypatch.setattr(Source, "documents", fail)
    second = prepare_data(sources=str(corpus))
    assert second.report["cached"]
    assert (second.train.tokens == first.train.tokens).all()
    ignored = ("cached", "seconds")
    assert {key: value for key, value in first.report.items() if key not in ignored} == {
        key: value for key, value in second.report.items() if key not in ignored
    }
    weighted = prepare_data(sources={"path": str(corpus), "weight": 3}, max_length=9, packing=False)
    assert weighted.report["cached"]
    assert weighted.train.weights == (3.0,)
    assert first.key == second.key != weighted.key


def test_a_touched_file_is_read_but_not_tokenised_again(
    corpus: Path, prepare_data: PrepareData, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_data(sources=str(corpus))
    os.utime(corpus, (1, 1))
    assert prepare_data(sources=str(corpus)).report["cached"]
    copy = corpus.with_name("copy.txt")
    copy.write_bytes(corpus.read_bytes())
    assert prepare_data(sources=str(copy)).report["cached"]


def test_changed_text_or_settings_are_tokenised_anew(corpus: Path, prepare_data: PrepareData) -> None:
    prepare_data(sources=str(corpus))
    for change in ({"seed": 1}, {"eval_fraction": 0.1}, {"vocab_size": 290}):
        assert not prepare_data(sources=str(corpus), **change).report["cached"]
    corpus.write_text(corpus.read_text() + "one line more\n")
    changed = prepare_data(sources=str(corpus))
    assert not changed.report["cached"]
    assert changed.report["bytes"] + changed.report["eval_bytes"] == corpus.stat().st_size


def test_what_a_killed_build_left_is_ignored_and_removed(
    tmp_path: Path, corpus: Path, prepare_data: PrepareData
) -> None:
    first = prepare_data(sources=str(corpus))
    tokens = tmp_path / "cache" / "tokens"
    (name,) = folders(tmp_path, "tokens")
    whole = (tokens / name / "train" / "tokens.bin").read_bytes()
    (tokens / name).rename(tokens / f"{UNFINISHED}{name}")
    (tokens / f"{UNFINISHED}other").mkdir()
    second = prepare_data(sources=str(corpus))
    assert not second.report["cached"]
    assert folders(tmp_path, "tokens") == [name]
    assert (tokens / name / "train" / "tokens.bin").read_bytes() == whole
    assert second.train.num_tokens == first.train.num_tokens


def test_a_damaged_store_is_made_again(tmp_path: Path, corpus: Path, prepare_data: PrepareData) -> None:
    prepare_data(sources=str(corpus))
    (name,) = folders(tmp_path, "tokens")
    path = tmp_path / "cache" / "tokens" / name / "train" / "tokens.bin"
    path.write_bytes(path.read_bytes()[:-2])
    assert not prepare_data(sources=str(corpus)).report["cached"]
    assert prepare_data(sources=str(corpus)).report["cached"]


def test_a_full_disk_is_named_and_nothing_is_left(
    tmp_path: Path, corpus: Path, prepare_data: PrepareData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TokenWriter, "add", full)
    with pytest.raises(StorageError, match="the disk is full"):
        prepare_data(sources=str(corpus))
    assert folders(tmp_path, "tokens") == []


def test_text_that_changes_between_the_passes(
    tmp_path: Path, corpus: Path, prepare_data: PrepareData, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tokens = encode_module.write_tokens

    def changed_before(*arguments: Any) -> Any:
        corpus.write_text("something else")
        return write_tokens(*arguments)

    monkeypatch.setattr("workbench.data.pipeline.write_tokens", changed_before)
    with pytest.raises(DataError, match="changed while it was being read"):
        prepare_data(sources=str(corpus))
    assert folders(tmp_path, "tokens") == []


@pytest.mark.parametrize("stage", ["reading the text", "training the tokenizer", "tokenising"])
def test_progress_may_stop_it_at_any_stage(tmp_path: Path, prepare_data: PrepareData, stage: str) -> None:
    class Stop(Exception):
        pass

    def stop(what: str, done: int, total: int | None) -> None:
        if what == stage:
            raise Stop

    source = {"path": "stdlib:", "limit": 40}
    with pytest.raises(Stop):
        prepare_data(sources=source, progress=stop)
    left = [path.name for path in (tmp_path / "cache").rglob(f"{UNFINISHED}*")]
    assert left == []
    assert not prepare_data(sources=source).report["cached"]


def test_progress_names_each_stage_and_reaches_its_end(corpus: Path, prepare_data: PrepareData) -> None:
    heard: list[tuple[str, int, int | None]] = []
    prepare_data(sources=str(corpus), progress=lambda *said: heard.append(said))
    size = corpus.stat().st_size
    assert ("reading the text", size, size) in heard
    assert ("tokenising", size, size) in heard
    assert "training the tokenizer" in {what for what, done, total in heard}


BUILDER = """
import sys
from pathlib import Path
from workbench.data.artifact import build_once, read_meta, write_meta

folder, name = Path(sys.argv[1]), sys.argv[2]

def build(target):
    print("building", flush=True)
    sys.stdin.readline()
    (target / "who").write_text(name)
    write_meta(target, {})

made = build_once(folder / "thing", build, lambda target: read_meta(target) is not None,
                  lambda what, done, total: print(what, flush=True))
print("made" if made else "reused", (folder / "thing" / "who").read_text(), flush=True)
"""


def start(folder: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(folder), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_of_two_processes_one_builds_and_the_other_waits(tmp_path: Path) -> None:
    with start(tmp_path, "first") as first:
        assert said(first) == "building"
        with start(tmp_path, "second") as second:
            assert said(second).startswith("waiting for another process")
            assert first.communicate("\n")[0].strip() == "made first"
            rest = second.communicate("\n")[0].splitlines()
            assert rest[-1] == "reused first"


def test_when_the_builder_is_killed_the_one_that_waits_takes_over(tmp_path: Path) -> None:
    with start(tmp_path, "first") as first:
        assert said(first) == "building"
        with start(tmp_path, "second") as second:
            assert said(second).startswith("waiting for another process")
            first.kill()
            first.communicate()
            rest = second.communicate("\n")[0].splitlines()
            assert rest[-2:] == ["building", "made second"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(UNFINISHED)] == []


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_once(tmp_path / "thing", build, Path.is_dir, lambda what, done, total: None)
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == [".locks"]
