"""Writing metrics and tailing them: what a kill, a resume or a bad disk may leave behind."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import orjson
import pytest

from workbench.errors import StorageError
from workbench.store.metrics import MetricsTail, MetricsWriter, read_metrics


def training_record(step: int) -> dict[str, float | int]:
    return {
        "step": step,
        "time": 1.7e9 + step / 4,
        "num_tokens": step * 4096,
        "loss": 10 / (step + 1),
        "learning_rate": 1e-4,
    }


def write_steps(path: Path, steps: range) -> None:
    with MetricsWriter(path) as writer:
        for step in steps:
            writer.write(training_record(step))


def finish(tail: MetricsTail) -> MetricsTail:
    tail.poll()
    while tail.behind:
        tail.poll()
    return tail


def same(first: MetricsTail, second: MetricsTail) -> bool:
    assert (first.names, first.length) == (second.names, second.length)
    for name in first.names:
        for axis in ("step", "time", "num_tokens"):
            for one, other in zip(first.series(name, axis), second.series(name, axis), strict=True):
                np.testing.assert_array_equal(one, other)
    return True


def test_series_have_their_axes(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_steps(path, range(1, 101))
    tail = read_metrics(path)
    assert tail.names == ["num_tokens", "loss", "learning_rate"]
    assert tail.length == tail.count("loss") == 100
    x, y = tail.series("loss")
    np.testing.assert_array_equal(x, np.arange(1.0, 101))
    np.testing.assert_allclose(y, 10 / (x + 1))
    np.testing.assert_array_equal(tail.series("loss", "time")[0], np.arange(100) / 4)
    np.testing.assert_array_equal(tail.series("loss", "num_tokens")[0], x * 4096)
    assert tail.last("loss") == 10 / 101
    assert tail.last("unheard of") is None
    assert tail.series("unheard of")[0].size == 0


def test_views_are_not_copies_and_stay_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_steps(path, range(100))
    tail = read_metrics(path)
    _, before = tail.series("loss")
    assert np.shares_memory(before, tail.series("loss")[1])
    kept = before.copy()
    with MetricsWriter(path) as writer:
        writer.resume(10)
        for step in range(11, 500):
            writer.write({**training_record(step), "loss": -1.0})
    finish(tail)
    np.testing.assert_array_equal(before, kept)


def test_evaluation_records_stand_between_training_records(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as writer:
        for step in range(1, 3001):
            writer.write(training_record(step))
            if step % 7 == 0:
                writer.write(
                    {"step": step, "time": 1.7e9 + step / 4 + 0.1, "num_tokens": step, "eval_loss": step / 2}
                )
    tail = read_metrics(path)
    x, y = tail.series("eval_loss")
    np.testing.assert_array_equal(x, np.arange(7.0, 3001, 7))
    np.testing.assert_array_equal(y, x / 2)
    np.testing.assert_allclose(tail.series("eval_loss", "time")[0], x / 4 + 0.1 - 0.25)
    np.testing.assert_array_equal(tail.series("loss")[0], np.arange(1.0, 3001))
    np.testing.assert_array_equal(tail.series("learning_rate", "num_tokens")[0], np.arange(1.0, 3001) * 4096)


def test_not_finite_is_null_on_disk_and_nan_when_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as writer:
        for step, loss in enumerate([1.0, float("nan"), float("inf"), None, 2.0]):
            writer.write({"step": step, "loss": loss, "note": "x"})
    assert all("loss" in orjson.loads(line) for line in path.read_bytes().splitlines())
    tail = read_metrics(path)
    np.testing.assert_array_equal(tail.series("loss")[1], [1.0, np.nan, np.nan, np.nan, 2.0])
    assert tail.names == ["loss"]


def test_resume_supersedes_later_records_of_every_series(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = MetricsTail(path)
    with MetricsWriter(path) as writer:
        for step in range(1, 51):
            writer.write(training_record(step))
            if step % 10 == 0:
                writer.write({"step": step, "eval_loss": step})
        finish(tail)
        generation = tail.generation
        assert tail.count("loss") == 50 and tail.count("eval_loss") == 5
        writer.resume(30)
        for step in range(31, 41):
            writer.write({**training_record(step), "loss": 0.5})
    assert tail.poll()
    assert tail.generation == generation + 1
    x, y = tail.series("loss")
    np.testing.assert_array_equal(x, np.arange(1.0, 41))
    assert (y[30:] == 0.5).all() and y[29] == 10 / 31
    np.testing.assert_array_equal(tail.series("eval_loss")[0], [10, 20, 30])
    assert same(tail, read_metrics(path))


def test_resume_from_the_last_step_drops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_steps(path, range(10))
    tail = read_metrics(path)
    with MetricsWriter(path) as writer:
        writer.resume(9)
    tail.poll()
    assert tail.generation == 0 and tail.length == 10


def test_torn_line_waits_and_the_writer_removes_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_steps(path, range(5))
    with path.open("ab") as file:
        file.write(b'{"step":5,"lo')
    tail = MetricsTail(path)
    assert tail.poll() and tail.length == 5
    assert not tail.poll()
    with path.open("ab") as file:
        file.write(b'ss":0.5}\n{"st')
    assert tail.poll() and tail.last("loss") == 0.5
    with MetricsWriter(path) as writer:
        writer.resume(3)
        writer.write(training_record(4))
    assert all(isinstance(orjson.loads(line), dict) for line in path.read_bytes().splitlines())
    tail.poll()
    assert (tail.length, tail.bad_lines) == (5, 0)


@pytest.mark.parametrize("seed", range(25))
def test_a_kill_at_any_byte_loses_at_most_one_record(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "metrics.jsonl"
    write_steps(path, range(60))
    size = path.stat().st_size
    cut = random.Random(seed).randrange(1, size)
    whole = path.read_bytes()[:cut].count(b"\n")
    os.truncate(path, cut)
    tail = finish(MetricsTail(path))
    assert tail.length == whole and tail.bad_lines == 0
    with MetricsWriter(path) as writer:
        writer.resume(whole - 1)
        writer.write({"step": whole, "time": 1.7e9, "num_tokens": 1, "loss": 1.0, "learning_rate": 0.1})
    tail.poll()
    assert tail.length == whole + 1 and tail.bad_lines == 0
    assert same(tail, read_metrics(path))


def test_a_worker_killed_while_writing_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    program = (
        "import sys; from pathlib import Path; from workbench.store.metrics import MetricsWriter\n"
        "writer = MetricsWriter(Path(sys.argv[1])); step = 0\n"
        "while True:\n    step += 1; writer.write({'step': step, 'loss': 1 / step})\n"
        "    if step == 200: print('go', flush=True)\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    worker.stdout.readline()
    worker.kill()
    worker.communicate()
    tail = read_metrics(path)
    assert tail.length >= 200 and tail.bad_lines == 0
    np.testing.assert_array_equal(tail.series("loss")[0], np.arange(1.0, tail.length + 1))


def test_garbage_lines_are_counted_and_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_steps(path, range(5))
    with path.open("ab") as file:
        file.write(b'not json\n\n[1]\n{"step":3,\n\x00\x00\x00\n7\n')
    write_steps(path, range(5, 8))
    tail = read_metrics(path)
    assert tail.length == 8
    assert tail.bad_lines == 5
    np.testing.assert_array_equal(tail.series("loss")[0], np.arange(8.0))


def test_replaced_shrunk_missing_and_overwritten_files_start_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = MetricsTail(path)
    assert not tail.poll() and tail.names == []
    write_steps(path, range(50))
    assert tail.poll() and tail.length == 50
    path.write_bytes(orjson.dumps(training_record(1)) + b"\n")
    assert tail.poll()
    assert (tail.length, tail.generation) == (1, 1)
    other = tmp_path / "other"
    write_steps(other, range(80))
    other.replace(path)
    assert tail.poll() and tail.length == 80 and tail.generation == 2
    path.unlink()
    assert tail.poll() and tail.length == 0 and tail.generation == 3
    assert not tail.poll()


def test_polling_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_steps(path, range(10_000))
    tail = MetricsTail(path)
    tail.poll(max_bytes=100_000)
    assert tail.behind and 0 < tail.length < 3000
    lengths = [tail.length]
    while tail.behind:
        tail.poll(max_bytes=100_000)
        lengths.append(tail.length)
    assert lengths[-1] == 10_000 and len(lengths) > 5 and lengths == sorted(set(lengths))
    assert same(tail, read_metrics(path))


def test_a_record_longer_than_a_piece(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    wide: Mapping[str, float] = {f"metric {index}": float(index) for index in range(20_000)}
    with MetricsWriter(path) as writer:
        writer.write(wide)
        writer.write({"step": 1, "loss": 2.0})
    tail = finish(MetricsTail(path))
    assert tail.length == 2 and tail.last("metric 19999") == 19999.0
    tail = MetricsTail(path)
    while tail.poll(max_bytes=1000) or tail.behind:
        pass
    assert tail.length == 2 and tail.bad_lines == 0


def test_a_disk_that_refuses_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError):
        MetricsWriter(tmp_path / "no such folder" / "metrics.jsonl")
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as writer:
        writer.write({"step": 1})
        real_write = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:5]))
        with pytest.raises(StorageError, match="disk is full"):
            writer.write({"step": 2})
        monkeypatch.undo()
        writer.write({"step": 3})
    assert read_metrics(path).length == 2

    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, "read-only")

    with MetricsWriter(path) as writer:
        monkeypatch.setattr(os, "write", refuse)
        with pytest.raises(StorageError, match="read-only"):
            writer.write({"step": 4})


def test_the_writer_needs_no_numpy(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from workbench.store.metrics import MetricsWriter\n"
        "with MetricsWriter(Path(sys.argv[1])) as writer: writer.write({'step': 1})\n"
        "assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "metrics.jsonl")], check=True)
