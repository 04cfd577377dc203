"""What the ranks of a run write about themselves, and how it is read."""

from __future__ import annotations

import time
from pathlib import Path

import orjson
import pytest

from workbench.errors import StorageError
from workbench.store import ranks
from workbench.store.ranks import Place, RanksReader, RankWriter, read_ranks


def test_what_is_written_is_read(tmp_path: Path) -> None:
    place = Place(1, 2, 1, "node-a", 77, "cuda:1 H100", {"dp_shard": 2}, {"dp_shard": 1})
    writer = RankWriter(tmp_path, place)
    for step in range(1, 300):
        writer.step(step, seconds=0.5, busy_seconds=0.4, tokens=10, memory=5, peak_memory=6, memory_limit=9)
    writer.phase("saving")
    writer.close()
    (rank,) = read_ranks(tmp_path)
    assert rank.place == place
    assert (rank.phase, rank.step, rank.tokens) == ("ended", 299, 2990)
    assert (rank.memory, rank.peak_memory, rank.memory_limit) == (5, 6, 9)
    assert rank.steps == tuple(range(300 - ranks.STEPS_KEPT, 300))
    assert rank.tokens_per_second == pytest.approx(20.0)


def test_only_what_changed_is_news(tmp_path: Path) -> None:
    reader = RanksReader(tmp_path)
    assert reader.poll() == ()
    assert reader.poll() is None
    first = RankWriter(tmp_path, Place(0, 2))
    second = RankWriter(tmp_path, Place(1, 2))
    assert [rank.place.rank for rank in reader.poll() or ()] == [0, 1]
    assert reader.poll() is None
    second.close("failed")
    assert [rank.phase for rank in reader.poll() or ()] == ["preparing", "failed"]
    first.close()


def test_a_smaller_run_after_a_larger_one_stands_alone(tmp_path: Path) -> None:
    for number in range(4):
        RankWriter(tmp_path, Place(number, 4)).close()
    RankWriter(tmp_path, Place(1, 2)).close()
    assert [rank.place.rank for rank in read_ranks(tmp_path)] == [0, 1]
    RankWriter(tmp_path, Place(0, 2)).close()
    assert len(list((tmp_path / ranks.FOLDER).iterdir())) == 2


def test_damaged_files_are_left_out(tmp_path: Path) -> None:
    RankWriter(tmp_path, Place()).close()
    folder = tmp_path / ranks.FOLDER
    (folder / "rank-00001.json").write_bytes(b'{"place": {"rank": ')
    (folder / "rank-00002.json").write_bytes(orjson.dumps({"place": {"rank": 2, "colour": "red"}}))
    wrong = orjson.loads((folder / "rank-00000.json").read_bytes()) | {"memory": "much"}
    (folder / "rank-00003.json").write_bytes(orjson.dumps(wrong))
    (folder / "rank-00004.json").write_bytes(orjson.dumps(wrong | {"memory": 1, "phase": "\x1b[2J"}))
    place = wrong["place"] | {"world_size": 10**12}
    (folder / "rank-00005.json").write_bytes(orjson.dumps(wrong | {"memory": 1, "place": place}))
    (folder / "notes.txt").write_text("mine")
    assert [rank.place.rank for rank in read_ranks(tmp_path)] == [0]


def test_a_rank_says_since_when_it_does_what_it_does(tmp_path: Path) -> None:
    began = time.time()
    writer = RankWriter(tmp_path, Place())
    writer.phase("computing")
    writer.passes = 7
    writer.close("computing")
    (rank,) = read_ranks(tmp_path)
    assert rank.passes == 7 and rank.since is not None and began <= rank.since <= rank.updated
    path = tmp_path / ranks.FOLDER / "rank-00000.json"
    path.write_bytes(path.read_bytes().replace(b'"since"', b'"before"'))
    # As an earlier version wrote it.
    assert read_ranks(tmp_path)[0].since is None


def test_a_disk_that_refuses_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = RankWriter(tmp_path, Place())

    def refuse(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(ranks, "replace_file", refuse)
    monkeypatch.setattr(ranks, "WRITE_SECONDS", 0.0)
    for step in range(3):
        writer.step(step, seconds=1.0)
    writer.close()
    assert capsys.readouterr().err.count("the disk is full") == 1


def test_the_place_comes_from_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "9"), ("WORLD_SIZE", "16"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    place = Place.from_environment("cpu", {"tp": 2, "dp_shard": 8}, {"tp": 1, "dp_shard": 4})
    assert (place.rank, place.world_size, place.local_rank) == (9, 16, 1)
    assert list(place.axes) == ["tp", "dp_shard"]
