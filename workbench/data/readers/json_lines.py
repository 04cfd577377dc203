"""JSON Lines: one record a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import orjson

from workbench.data.documents import Found, Tally
from workbench.data.opening import BYTE_ORDER_MARK, decode, open_binary
from workbench.data.readers.place import Place
from workbench.data.readers.records import text_of
from workbench.errors import DataError


def read_json_lines(path: Path, column: str, tally: Tally) -> Iterator[Found]:
    """Yield the text of each line's record; empty lines are passed over."""
    for record, where in json_line_records(path):
        yield text_of(record, column, where), where


def json_line_records(path: Path, place: Place | None = None) -> Iterator[tuple[object, str]]:
    """Yield what each line holds, and where; empty lines are passed over."""
    name, place = str(path), place or Place()
    with open_binary(path) as file:
        if place.offset:
            file.seek(place.offset)
        for line in file:
            content = line.removeprefix(BYTE_ORDER_MARK) if place.offset == 0 else line
            number, offset = place.line, place.offset + len(line) - len(content)
            place.line += 1
            place.offset += len(line)
            if content.isspace() or not content:
                continue
            where = f"{name}:{number}"
            try:
                record = orjson.loads(content)
            except orjson.JSONDecodeError:
                record = _tolerant(content, where, offset)
            yield record, where


def _tolerant(line: bytes, where: str, offset: int) -> object:
    """What orjson refuses and other programs write: NaN, and halves of surrogate pairs."""
    # Without its end, behind which a line that is cut off would seem to be wrong in the next one.
    text = decode(line, where, offset).rstrip()
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"the line is not valid JSON: {error.msg.removesuffix(' at')} at column {error.colno}",
            where=where,
            hint="each line is one complete record, its strings in double quotes",
        ) from None
    except RecursionError:
        raise DataError("the JSON is nested too deeply", where=where) from None
