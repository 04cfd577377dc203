"""Files of one JSON object a line that only grow: written so that a kill loses no line that was whole."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from workbench.errors import storage_error

PIECE_BYTES = 1 << 16


class Taken(Exception):
    """Another process writes this file."""


class LinesWriter:
    """Appends records, each with one `write()`, so that a kill loses at most one.

    Opening drops an unterminated last line, which only a killed writer leaves. Raises `StorageError`, and
    `Taken` while another process has the file open, if this one wants to be `alone` with it.
    """

    def __init__(self, path: Path, *, alone: bool = True) -> None:
        self.path = path
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            if alone:
                _lock(self._descriptor)
            self._drop_torn_line()
        except OSError as error:
            self._let_go()
            raise storage_error(error, path) from None
        except Taken:
            self._let_go()
            raise

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record. Raises `StorageError` when the disk refuses; the file stays whole."""
        line = _line(record)
        try:
            if os.write(self._descriptor, line) != len(line):
                self._drop_torn_line()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise storage_error(error, self.path) from None

    def sync(self) -> None:
        """Wait until the disk has everything. Raises `StorageError`."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise storage_error(error, self.path) from None

    def close(self) -> None:
        """Wait until the disk has everything, and close; closing twice is harmless. Raises `StorageError`."""
        if self._descriptor < 0:
            return
        try:
            self.sync()
        finally:
            self._let_go()

    def _drop_torn_line(self) -> None:
        end = size = os.fstat(self._descriptor).st_size
        while end > 0:
            start = max(0, end - PIECE_BYTES)
            newline = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end != size:
            os.ftruncate(self._descriptor, end)

    def _let_go(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        # Half a surrogate pair or a number of more than 64 bits, which a model may well write. What is not
        # finite is null, as above.
        finite = json.loads(json.dumps(record), parse_constant=lambda constant: None)
        return (json.dumps(finite, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _lock(descriptor: int) -> None:
    """Take the file for this process; the system lets go of it however the process ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Taken from None
    except OSError:
        # Some network file systems know no locks.
        return


def whole_lines(path: Path, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Each whole line from a byte on, with where it begins; a file that is not there has none."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                yield start, line
                start += len(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(error, path) from None


def parsed(line: bytes) -> dict[str, Any] | None:
    """The record of a line, None for one that is damaged."""
    try:
        record = orjson.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
