"""Files of one record a line: reading them with their places, writing them whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.errors import DataError, storage_error
from workbench.store.preferences.contents import Content, encoded
from workbench.store.preferences.ranks import FEWEST_ANSWERS, MOST_ANSWERS, dense

Record = Mapping[str, Any]


def read_records(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """The records of a JSONL file, or of a JSON array, each with its place `file:line` (`file, record n`).

    Blank lines are none. Raises `DataError` for what is no JSON object.
    """
    try:
        with path.open("rb") as file:
            if path.suffix == ".json":
                yield from _array(file.read(), path)
                return
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _object(line, f"{path}:{number}"), f"{path}:{number}"
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror or error}", where=str(path)) from None


def write_records(path: Path, records: Iterable[Record]) -> int:
    """Write records, one a line, in the place of what was there, and say how many. Raises `StorageError`."""
    temporary, count = path.with_name(f".{path.name}.{os.getpid()}.tmp"), 0
    try:
        with temporary.open("wb") as file:
            for record in records:
                file.write(line_of(record))
                count += 1
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise storage_error(error, path) from None
    finally:
        temporary.unlink(missing_ok=True)
    return count


def line_of(record: Record) -> bytes:
    """A record as a line of JSON."""
    try:
        return (json.dumps(record, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:
        # Half a surrogate pair has no UTF-8, but an escape.
        return (json.dumps(record) + "\n").encode()


def digest_of(record: Record) -> str:
    """The same for the same record, whatever the order of its keys."""
    return hashlib.sha256(encoded(dict(record)).encode()).hexdigest()[:24]


def content_of(record: Record, key: str, where: str) -> Content:
    """A text or messages under a key. Raises `DataError` where it is missing, empty or something else."""
    return checked_content(record.get(key), f"“{key}”", where)


def checked_content(value: Any, what: str, where: str) -> Content:
    """A value as a text or messages; an answer may be an empty text, for models do give none."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(_is_message(message) for message in value):
        return value
    said = "is missing" if value is None else "is neither a text nor messages"
    raise DataError(f"{what} {said}", where=where, hint='a text, or [{"role": "user", "content": "…"}, …]')


def prompt_of(record: Record, key: str, where: str) -> Content:
    """A prompt: a content that is not empty."""
    content = content_of(record, key, where)
    if isinstance(content, str) and not content.strip():
        raise DataError(f"“{key}” is empty", where=where, hint="remove the record, or give it its prompt")
    return content


def check_count(count: int, where: str) -> None:
    """Raise `DataError` for a number of answers that cannot be ranked."""
    if not FEWEST_ANSWERS <= count <= MOST_ANSWERS:
        raise DataError(
            f"{count} answer{'s' * (count != 1)} cannot be ranked",
            where=where,
            hint=f"a ranking is of {FEWEST_ANSWERS} to {MOST_ANSWERS} answers",
        )


def checked_ranks(value: Any, count: int, where: str) -> tuple[int, ...]:
    """Ranks of `count` answers, made dense. Raises `DataError`."""
    numbers = value if isinstance(value, list) else []
    right = all(isinstance(rank, int) and not isinstance(rank, bool) for rank in numbers)
    if not right or len(numbers) != count:
        raise DataError(
            f"“ranks” is {json.dumps(value)[:60]} for {count} answers",
            where=where,
            hint="one whole number for each answer, 1 for the best, the same for a tie",
        )
    return dense(numbers)


def list_of(record: Record, key: str, count: int, where: str) -> list[Any]:
    """What a record says of each answer under a key, None of each where it says nothing."""
    value = record.get(key)
    if value is None:
        return [None] * count
    if not isinstance(value, list) or len(value) != count:
        raise DataError(f"“{key}” does not have one entry for each of {count} answers", where=where)
    return value


def text_of(record: Record, key: str, where: str) -> str | None:
    """A text under a key that may be missing. Raises `DataError`."""
    value = record.get(key)
    if value is None or isinstance(value, str):
        return value
    raise DataError(f"“{key}” is no text", where=where)


def number_of(value: Any) -> float | None:
    """A number that may be missing. Raises `ValueError`, `TypeError`."""
    return None if value is None else float(value)


def whole(value: Any) -> int | None:
    """A whole number that may be missing. Raises `ValueError`, `TypeError`."""
    return None if value is None else int(value)


def as_messages(content: Content, role: str) -> list[dict[str, Any]]:
    """A content as messages; a text is one of `role`."""
    return [{"role": role, "content": content}] if isinstance(content, str) else list(content)


def common_prompt(first: Sequence[Any], second: Sequence[Any]) -> int:
    """How many messages two conversations share from the start, so that each keeps one at least."""
    most = min(len(first), len(second)) - 1
    return next((n for n in range(most) if first[n] != second[n]), max(most, 0))


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str)


def _array(content: bytes, path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    try:
        values = json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DataError(f"this is no JSON: {error}", where=str(path)) from None
    for number, value in enumerate(values if isinstance(values, list) else [values], 1):
        if not isinstance(value, dict):
            raise DataError("this is no JSON object", where=f"{path}, record {number}")
        yield value, f"{path}, record {number}"


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the line is no JSON: {error}", where=where) from None
    if not isinstance(value, dict):
        raise DataError("the line is no JSON object", where=where, hint='one record a line: {"prompt": …}')
    return value


def _no_number(constant: str) -> float:
    raise ValueError(f"{constant} is no number in JSON")
