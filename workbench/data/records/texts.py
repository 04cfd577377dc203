"""The texts of records: what must be there, and what is wrong where it is not."""

from __future__ import annotations

from typing import Any

from workbench.data.readers.records import kind_of
from workbench.data.records.reading import Record
from workbench.errors import DataError

Checked = dict[str, Any]


class BlankText(DataError):
    """A record in which there is nothing to read: training leaves it out and counts it."""


def text_in(record: Record, column: str) -> str:
    """A column that must hold text that is not blank."""
    value = record.values.get(column)
    if not isinstance(value, str):
        raise DataError(f"column “{column}” holds {held(record, column)}, not text", where=record.where)
    if not value.strip():
        raise BlankText(f"column “{column}” is blank", where=record.where, hint="leave such records out")
    return sound(value)


def sound(text: str) -> str:
    """Text with halves of surrogate pairs, which JSON can spell and UTF-8 cannot, replaced by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def held(record: Record, column: str) -> str:
    """What a column holds, in words."""
    return f"a {kind_of(record.values[column])}" if column in record.values else "nothing"
