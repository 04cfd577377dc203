"""JSON: an array of records, read piece by piece; or JSON Lines under another name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from workbench.data.documents import Found, Tally
from workbench.data.opening import decoded_blocks, open_binary
from workbench.data.readers.json_lines import json_line_records
from workbench.data.readers.records import text_of
from workbench.errors import DataError

BLANK = " \t\r\n"
NEAR_THE_END = 16
"""An error this near to the end of what was read so far may only mean that the rest is not read yet."""


def read_json(path: Path, column: str, tally: Tally) -> Iterator[Found]:
    """Yield the text of each record of the array."""
    for record, where in json_records(path):
        yield text_of(record, column, where), where


def json_records(path: Path) -> Iterator[tuple[object, str]]:
    """Yield each element of the array, and where it begins."""
    name = str(path)
    with open_binary(path) as file:
        window = _Window(decoded_blocks(file, name), name)
        first = window.peek()
        if first == "[":
            for record, line in window.records():
                yield record, f"{name}:{line}"
            return
    if first == "{":
        yield from _lines(path)
    elif first:
        raise _no_array(f"{name}:{window.line}")


def _lines(path: Path) -> Iterator[tuple[object, str]]:
    found = json_line_records(path)
    try:
        head = next(found)
    except DataError as error:
        if "not valid JSON" in error.message:
            raise _no_array(error.where) from None
        raise
    yield head
    yield from found


def _no_array(where: str) -> DataError:
    return DataError(
        "the file is neither an array of records nor one record a line",
        where=where,
        hint='write it as [{"text": "…"}, …], or as JSON Lines',
    )


class _Window:
    """The part of the file that is in memory: from the current record on, as far as was read."""

    def __init__(self, blocks: Iterator[str], name: str) -> None:
        self._blocks, self._name = blocks, name
        self._text, self._at, self.line = "", 0, 1
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """The next character that is not blank, or nothing at the end of the file."""
        while True:
            while self._at < len(self._text):
                character = self._text[self._at]
                if character not in BLANK:
                    return character
                self.line += character == "\n"
                self._at += 1
            if not self._more():
                return ""

    def records(self) -> Iterator[tuple[object, int]]:
        """The elements of the array that begins here, each with the line it begins in."""
        self._at += 1
        if self.peek() == "]":
            self._at += 1
        else:
            while True:
                self.peek()
                line = self.line
                yield self._element(), line
                mark = self.peek()
                if mark not in (",", "]"):
                    raise self._malformed("expected a comma or the end of the array", self._at)
                self._at += 1
                if mark == "]":
                    break
        if self.peek():
            raise self._malformed("more text after the end of the array", self._at)

    def _element(self) -> object:
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                unfinished = (
                    error.msg.startswith("Unterminated") or error.pos > len(self._text) - NEAR_THE_END
                )
                if unfinished and self._more():
                    continue
                raise self._malformed(error.msg, error.pos) from None
            except RecursionError:
                raise self._malformed("nested too deeply", self._at) from None
            if end == len(self._text) and self._more():
                continue
            self.line += self._text.count("\n", self._at, end)
            self._at = end
            return value

    def _more(self) -> bool:
        """Drop what is behind and read on: as much again as is held, so that long records stay linear."""
        held = self._text[self._at :]
        pieces, size = [held], 0
        for block in self._blocks:
            pieces.append(block)
            size += len(block)
            if size >= len(held):
                break
        self._text, self._at = "".join(pieces), 0
        return size > 0

    def _malformed(self, message: str, position: int) -> DataError:
        line = self.line + self._text.count("\n", self._at, position)
        return DataError(f"the file is not valid JSON: {message}", where=f"{self._name}:{line}")
