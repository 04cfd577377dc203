"""The cache of decoded metrics is only ever a copy: whatever befalls it, what is read stays the same."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from workbench.store import metrics_cache
from workbench.store.metrics import MetricsTail, MetricsWriter, read_metrics

LONG = 16_000


def write_run(path: Path, steps: range) -> None:
    with MetricsWriter(path) as writer:
        for step in steps:
            writer.write(
                {
                    "step": step,
                    "time": 1.7e9 + step,
                    "num_tokens": step * 8,
                    "loss": 1 / (step + 1),
                    "mfu": 0.4,
                }
            )
            if step % 100 == 0:
                writer.write({"step": step, "time": 1.7e9 + step + 0.5, "eval_loss": step})


def opened(path: Path, cache: Path) -> MetricsTail:
    tail = MetricsTail(path, cache)
    tail.poll()
    while tail.behind:
        tail.poll()
    return tail


def assert_reads_like_uncached(tail: MetricsTail) -> None:
    plain = read_metrics(tail.path)
    assert (tail.names, tail.length, tail.bad_lines) == (plain.names, plain.length, plain.bad_lines)
    for name in plain.names:
        for axis in ("step", "time", "num_tokens"):
            np.testing.assert_array_equal(tail.series(name, axis), plain.series(name, axis))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.jsonl"
    write_run(path, range(LONG))
    return path


@pytest.fixture
def cache(tmp_path: Path, run: Path) -> Path:
    opened(run, tmp_path / "cache")
    return tmp_path / "cache"


def no_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: bytes) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr("workbench.store.metrics.parse", refuse)


def test_reopening_parses_nothing(run: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read_metrics(run).series("loss")
    with monkeypatch.context() as patch:
        no_parsing(patch)
        tail = opened(run, cache)
        np.testing.assert_array_equal(tail.series("loss"), expected)
    assert_reads_like_uncached(tail)


def test_growth_after_the_cache_was_made(run: Path, cache: Path) -> None:
    write_run(run, range(LONG, LONG + 50))
    tail = opened(run, cache)
    assert_reads_like_uncached(tail)
    write_run(run, range(LONG + 50, LONG + 90))
    tail.poll()
    assert_reads_like_uncached(tail)


def test_resume_after_the_cache_was_made(run: Path, cache: Path) -> None:
    with MetricsWriter(run) as writer:
        writer.resume(LONG // 2)
    write_run(run, range(LONG // 2 + 1, LONG // 2 + 9))
    tail = opened(run, cache)
    assert_reads_like_uncached(tail)
    assert tail.generation == 1


def test_damage_of_any_kind_is_answered_by_reading_again(run: Path, cache: Path) -> None:
    path = metrics_cache.cache_path(cache, run)
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 4
    for damaged in (b"", b"junk", good[:30], good[: len(good) // 2], good[:-1], bytes(flipped)):
        path.write_bytes(damaged)
        assert_reads_like_uncached(opened(run, cache))
        assert path.read_bytes() == good


def test_a_changed_file_does_not_fit_its_cache(run: Path, cache: Path) -> None:
    content = run.read_bytes()
    run.write_bytes(content.replace(b'"step":0,', b'"step":7,', 1))
    assert_reads_like_uncached(opened(run, cache))
    run.write_bytes(content[: len(content) // 2])
    assert_reads_like_uncached(opened(run, cache))


def test_a_folder_that_cannot_be_written_is_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_reads_like_uncached(opened(run, tmp_path / "file"))
    assert (tmp_path / "file").read_text() == ""


def test_small_files_have_no_cache(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_run(path, range(10))
    opened(path, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_caches_nobody_opened_for_a_month_go(run: Path, tmp_path: Path) -> None:
    stale = tmp_path / "cache" / "0.metrics"
    stale.parent.mkdir()
    stale.write_bytes(b"")
    os.utime(stale, (1, 1))
    opened(run, tmp_path / "cache")
    assert not stale.exists()
    assert len(list(stale.parent.iterdir())) == 1
