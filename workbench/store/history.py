"""What was sent to models and what came back: `history/<year>-<month>.jsonl`, only ever appended to.

Each thing sent is one line, and so is each answer to it, since several models or techniques may be asked at
once and a program may be killed between the question and the answers. Lines are read from the end of the
newest file backwards, so that the latest is there at once however much there is.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from workbench import paths
from workbench.errors import storage_error

BLOCK = 1 << 16


@dataclass
class HistoryEntry:
    """One thing sent: `sent` is what it was, `answers` what came back by number of the column."""

    id: str
    time: float
    sent: dict[str, Any]
    answers: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """What was typed."""
        return str(self.sent.get("question", ""))

    def holds(self, words: list[str]) -> bool:
        """Whether every word, in small letters, is in what was sent, or in an answer."""
        if not words:
            return True
        said = [answer.get(name) for answer in self.answers.values() for name in ("chains", "error")]
        text = " ".join(_texts([self.sent, said])).casefold()
        return all(word in text for word in words)


def _texts(value: Any) -> Iterator[str]:
    """All texts in plain values; names of keys are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def history_dir() -> Path:
    """The folder of the history."""
    return paths.home() / "history"


def new_id() -> str:
    """What something sent and its answers are kept under."""
    return secrets.token_hex(6)


def add_sent(name: str, sent: Mapping[str, Any]) -> None:
    """Keep what is sent under an id. Raises `StorageError`."""
    _append({"id": name, "time": time.time(), "sent": sent})


def add_answer(name: str, column: int, answer: Mapping[str, Any]) -> None:
    """Keep an answer to what was sent under an id. Raises `StorageError`."""
    _append({"id": name, "column": column, "answer": answer})


def entries(
    words: str = "", *, limit: int = 200, should_stop: Callable[[], bool] | None = None
) -> Iterator[HistoryEntry]:
    """The latest entries that hold every word, the latest first. Raises `StorageError`.

    Lines that cannot be read, such as one that was cut off, are left out.
    """
    wanted = words.casefold().split()
    answers: dict[str, dict[int, dict[str, Any]]] = {}
    for line in _lines_backwards():
        if should_stop is not None and should_stop():
            return
        record = _parsed(line)
        name = record.get("id")
        if not isinstance(name, str):
            continue
        if isinstance(record.get("answer"), dict):
            answers.setdefault(name, {})[int(record.get("column") or 0)] = record["answer"]
        elif isinstance(record.get("sent"), dict):
            came = dict(sorted(answers.pop(name, {}).items()))
            entry = HistoryEntry(name, float(record.get("time") or 0.0), record["sent"], came)
            if entry.holds(wanted):
                yield entry
                limit -= 1
                if limit <= 0:
                    return


def _append(record: Mapping[str, Any]) -> None:
    folder = paths.ensure_dir(history_dir())
    path = folder / f"{time.strftime('%Y-%m')}.jsonl"
    line = _line(record)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # Behind a line that was cut off a new one would be lost too.
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, b"\n" + line if torn else line)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise storage_error(error, path) from None


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        # Half a surrogate pair, which a model may well write, or a value that is not plain.
        text = json.dumps(record, ensure_ascii=False, default=str) + "\n"
        return text.encode("utf-8", "replace")


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _lines_backwards() -> Iterator[bytes]:
    """All lines of all files, the last of the newest file first."""
    for path in sorted(history_dir().glob("*.jsonl"), reverse=True):
        try:
            yield from _lines_of(path)
        except OSError as error:
            raise storage_error(error, path) from None


def _lines_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        parts: list[bytes] = []
        while position > 0:
            start = max(0, position - BLOCK)
            file.seek(start)
            first, *whole = file.read(position - start).split(b"\n")
            if whole:
                parts.append(whole.pop())
                yield b"".join(reversed(parts))
                yield from reversed(whole)
                parts = []
            # The beginning of this line is in the block before.
            parts.append(first)
            position = start
        yield b"".join(reversed(parts))
