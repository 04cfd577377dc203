"""`metrics.jsonl`: what a run logged, one flat JSON object a line, and the reader that tails it.

A run that goes on from a checkpoint appends `{"event": "resume", "step": S}`: every record before that
line with a greater step was overtaken, and readers drop it. A run that is rolled back without a restart
appends `{"event": "rollback", "step": S}`, which means the same. Numbers that are not finite are written as
null and read as NaN.
"""

from __future__ import annotations

import os
import time
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from workbench.errors import storage_error
from workbench.store.json_lines import LinesWriter

if TYPE_CHECKING:
    from workbench.store.growing import FloatArray
    from workbench.store.metrics_columns import Columns, XAxis

# Parsing one piece holds the interpreter lock for about a millisecond, and a piece with the objects
# made from it stays in the processor's cache: 64 kB is 1.4 times faster than 256 kB or 1 MB.
PIECE_BYTES = 1 << 16
POLL_BYTES = 1 << 20


class MetricsWriter(LinesWriter):
    """Appends records to a run's metrics: flat ones, see above. Raises `StorageError`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, alone=False)

    def resume(self, step: int) -> None:
        """Say that training goes on from the checkpoint of `step`: later records are overtaken."""
        self.write({"event": "resume", "step": step, "time": time.time()})

    def roll_back(self, step: int) -> None:
        """Say that training went back to `step` without a restart; what it logged since is overtaken."""
        self.write({"event": "rollback", "step": step, "time": time.time()})


class MetricsTail:
    """The metrics of one run as columns, kept up with a file that may still grow.

    An interface calls `poll` a few times a second, and again while `behind`; it asks `series` for the
    points and, as long as `generation` stands still, needs only those past the `count` it last saw.
    `cache_dir` is where a decoded copy may be kept, so that opening a long run again is fast. Not
    safe to poll and read from two threads at once.
    """

    def __init__(self, path: Path, cache_dir: Path | None = None) -> None:
        self.path = path
        self.cache_dir = cache_dir
        self.generation = 0
        self.bad_lines = 0
        self.behind = False
        self._offset = 0
        self._inode: int | None = None
        self._seen: tuple[int, int] | None = None
        self._cached_offset = 0
        self._columns = self._empty()

    @staticmethod
    def _empty() -> Columns:
        # numpy takes 0.08 s to import: too long for a program that only lists runs.
        from workbench.store.metrics_columns import Columns

        return Columns()

    @property
    def names(self) -> list[str]:
        """Metrics in the order they first occurred; `step` and `time` are axes and not among them."""
        return self._columns.names

    @property
    def length(self) -> int:
        """Records in force."""
        return self._columns.length

    @property
    def first_time(self) -> float | None:
        """When the first record in force was written, in seconds since the epoch; None without any."""
        return self._columns.first_time()

    def count(self, name: str) -> int:
        """Points of one metric; it only grows while `generation` stands still. 0 when unknown."""
        return self._columns.count(name)

    def last(self, name: str) -> float | None:
        """The newest value of a metric (NaN when it was not finite), None when there is none."""
        return self._columns.last(name)

    def series(self, name: str, x: XAxis = "step") -> tuple[FloatArray, FloatArray]:
        """The points of a metric: two float64 arrays of `count(name)` values, not to be written to.

        x is the `step`, the `num_tokens`, or the `time` in seconds since the first record in force.
        """
        return self._columns.series(name, x)

    def poll(self, max_bytes: int = POLL_BYTES) -> bool:
        """Read at most about `max_bytes` of what is new; returns whether any record came or went.

        An unterminated last line waits for the next poll. A file that was replaced or has shrunk is
        read again from its start, and a missing one has no records. Raises `StorageError` when the
        file is there but cannot be read.
        """
        try:
            with self.path.open("rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                changed = self._check_identity(file, status)
                if (status.st_size, status.st_mtime_ns) == self._seen:
                    self.behind = False
                    return changed
                self._seen = None
                changed |= self._read(file, max_bytes)
                if self.behind:
                    return changed
                if file.tell() == status.st_size:
                    self._seen = (status.st_size, status.st_mtime_ns)
                self._save_cache(file)
                return changed
        except FileNotFoundError:
            self.behind = False
            return self._start_over() if self._inode is not None else False
        except OSError as error:
            raise storage_error(error, self.path) from None

    def _check_identity(self, file: FileIO, status: os.stat_result) -> bool:
        changed = False
        if self._inode is not None and (
            status.st_ino != self._inode or status.st_size < self._offset or not self._stands_on_newline(file)
        ):
            changed = self._start_over()
        if self._inode is None:
            self._inode = status.st_ino
            changed |= self._load_cache(file)
        return changed

    def _stands_on_newline(self, file: FileIO) -> bool:
        """Whether the offset is still the start of a line: not after another file was written over it."""
        return self._offset == 0 or os.pread(file.fileno(), 1, self._offset - 1) == b"\n"

    def _start_over(self) -> bool:
        had_records = self.length > 0
        self._columns = self._empty()
        self._offset = self.bad_lines = self._cached_offset = 0
        self._inode, self._seen, self.behind = None, None, False
        self.generation += 1
        return had_records

    def _read(self, file: FileIO, max_bytes: int) -> bool:
        """Take in whole lines from the offset on, piece by piece."""
        changed, budget, torn = False, max_bytes, b""
        file.seek(self._offset)
        while piece := file.read(PIECE_BYTES):
            budget -= len(piece)
            end = piece.rfind(b"\n") + 1
            if end:
                self._offset += len(torn) + end
                changed |= self._take(torn + piece[:end])
                torn = piece[end:]
            else:
                torn += piece
            if budget <= 0 and end:
                self.behind = file.tell() < os.fstat(file.fileno()).st_size
                return changed
        self.behind = False
        return changed

    def _take(self, lines: bytes) -> bool:
        records, bad = parse(lines)
        self.bad_lines += bad
        dropped = self._columns.extend(records)
        self.generation += dropped
        return bool(records)

    def _load_cache(self, file: FileIO) -> bool:
        if self.cache_dir is None:
            return False
        from workbench.store import metrics_cache

        cached = metrics_cache.load(self.cache_dir, self.path, file)
        if cached is None:
            return False
        self._columns, self._offset, self.bad_lines = cached
        self._cached_offset = self._offset
        return self.length > 0

    def _save_cache(self, file: FileIO) -> None:
        # Small files parse in no time, and rewriting the cache must stay rare while a run grows.
        grown = self._offset - self._cached_offset
        if self.cache_dir is None or grown < max(1 << 20, self._cached_offset // 4):
            return
        from workbench.store import metrics_cache

        self._cached_offset = self._offset
        metrics_cache.save(self.cache_dir, self.path, file, self._columns, self._offset, self.bad_lines)


def parse(lines: bytes) -> tuple[list[dict[str, object]], int]:
    """Whole lines, newlines included, as records, and how many of them were not one."""
    try:
        # One call for all lines costs two thirds of a call for each.
        records = orjson.loads(b"[" + lines[:-1].replace(b"\n", b",") + b"]")
        if set(map(type, records)) == {dict}:
            return records, 0
    except orjson.JSONDecodeError:
        pass
    records, bad = [], 0
    for line in lines.splitlines():
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            record = None
        if isinstance(record, dict):
            records.append(record)
        else:
            bad += bool(line.strip())
    return records, bad


def read_metrics(path: Path) -> MetricsTail:
    """All of a run's metrics as they are now, for commands."""
    tail = MetricsTail(path)
    tail.poll()
    while tail.behind:
        tail.poll()
    return tail
