"""Decoded metrics kept beside the runs, so that a long run opens again in a fraction of the time.

A cache is one file: a magic line, the length of a JSON header, the header, and the arrays. It is only
ever a copy: whatever looks wrong with it is answered by reading the metrics again, and a folder that
cannot be written is left alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from io import FileIO
from pathlib import Path

import numpy as np
import orjson

from workbench.store.growing import FloatArray, Growing
from workbench.store.metrics_columns import AXES, Column, Columns, arrays_of

MAGIC = b"workbench-metrics-1\n"
HEAD_BYTES = 4096
UNUSED_SECONDS = 30 * 24 * 3600.0


def cache_path(folder: Path, path: Path) -> Path:
    """Where the cache of the metrics at `path` is kept."""
    return folder / (hashlib.blake2b(os.fsencode(path.absolute()), digest_size=12).hexdigest() + ".metrics")


def load(folder: Path, path: Path, file: FileIO) -> tuple[Columns, int, int] | None:
    """Columns, byte offset behind them and bad lines up to there; None without a cache that fits."""
    source = cache_path(folder, path)
    try:
        with source.open("rb", buffering=0) as cached:
            head = cached.read(len(MAGIC) + 8)
            if head[: len(MAGIC)] != MAGIC:
                return None
            header = orjson.loads(cached.read(int.from_bytes(head[len(MAGIC) :], "little")))
            offset = header["offset"]
            if header["identity"] != _identity(path, file, offset):
                return None
            columns = _read_columns(cached, header)
        # So that a cache in use is not taken for one of a run long gone.
        os.utime(source)
        return columns, offset, header["bad_lines"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, MemoryError, OverflowError):
        return None


def save(folder: Path, path: Path, file: FileIO, columns: Columns, offset: int, bad_lines: int) -> None:
    """Replace the cache in one step; a disk that refuses is not worth a word."""
    arrays = list(arrays_of(columns))
    header = orjson.dumps(
        {
            "identity": _identity(path, file, offset),
            "offset": offset,
            "bad_lines": bad_lines,
            "length": columns.length,
            "arrays": [(kind, name, array.length, checksum(array.view)) for kind, name, array in arrays],
        }
    )
    target = cache_path(folder, path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb", buffering=0) as cached:
            cached.write(MAGIC + len(header).to_bytes(8, "little") + header)
            for _, _, array in arrays:
                cached.write(array.view.data)
        temporary.replace(target)
        _forget_unused(folder)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def checksum(values: FloatArray) -> int:
    """The sum of the values' bits: finds what a damaged disk does, at the speed of memory."""
    return int(np.add.reduce(values.view(np.uint64)))


def _identity(path: Path, file: FileIO, offset: int) -> list[str | int]:
    """What tells the file a cache was made of: place, inode, its first and its last bytes read."""
    descriptor = file.fileno()
    first = os.pread(descriptor, min(HEAD_BYTES, offset), 0)
    last = os.pread(descriptor, min(HEAD_BYTES, offset), max(0, offset - HEAD_BYTES))
    digest = hashlib.blake2b(first + last, digest_size=16).hexdigest()
    return [str(path.absolute()), os.fstat(descriptor).st_ino, offset, digest]


def _read_columns(cached: FileIO, header: dict[str, list[tuple[str, str, int, int]]]) -> Columns:
    """Raises ValueError when the file holds less, or other, than its header says."""
    columns = Columns()
    columns.length = int(str(header["length"]))
    left = os.fstat(cached.fileno()).st_size - cached.tell()
    for kind, name, length, expected in header["arrays"]:
        left -= 8 * length
        if length < 0 or left < 0:
            raise ValueError("the cache is cut short")
        # Room to spare, so that the first live points need not move the old ones.
        data = np.empty(length + length // 8 + 64)
        if cached.readinto(data[:length].data.cast("B")) != 8 * length or checksum(data[:length]) != expected:
            raise ValueError("the cache is damaged")
        array = Growing(data, length)
        if kind == "axis":
            columns.axes[name] = array
        elif kind == "values":
            columns.columns[name] = Column(array)
        else:
            columns.columns[name].rows = array
    if any(columns.axes[name].length != columns.length for name in AXES):
        raise ValueError("the cache is inconsistent")
    return columns


def _forget_unused(folder: Path) -> None:
    """Remove caches not opened for a month: their runs are gone or nobody looks at them."""
    for path in folder.glob("*.metrics"):
        if time.time() - path.stat().st_mtime > UNUSED_SECONDS:
            path.unlink(missing_ok=True)
