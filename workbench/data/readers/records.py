"""Taking the text out of a record, or saying what would have been right."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from workbench.errors import DataError


def text_of(record: object, column: str, where: str) -> str:
    """The text in `column` of a record; a missing value (null) counts as blank.

    Raises `DataError` when the record is no mapping, has no such column, or holds no string there.
    """
    if isinstance(record, dict):
        value = record.get(column)
        if isinstance(value, str):
            return value
        if column not in record:
            strings = [key for key, held in record.items() if isinstance(held, str)]
            raise no_column(column, list(record), where, strings)
        if value is None:
            return ""
        raise not_a_string(column, value, where)
    raise DataError(
        f"a {kind_of(record)} where a record was expected",
        where=where,
        hint='a record is a mapping like {"text": "…"}',
    )


def no_column(column: str, columns: Sequence[str], where: str, strings: Sequence[str] = ()) -> DataError:
    """The error for a record without the text column; `strings` are the columns that could be meant."""
    near = difflib.get_close_matches(column, columns, n=1) or list(strings[:1]) or list(columns[:1])
    return DataError(
        f"no column “{column}”; the columns are {', '.join(columns) or '(none)'}",
        where=where,
        hint=f"name the column that holds the text, for example: text_column: {near[0]}" if near else "",
    )


def not_a_string(column: str, value: object, where: str) -> DataError:
    """The error for a text column that holds something else."""
    return DataError(
        f"column “{column}” holds a {kind_of(value)}, not text",
        where=where,
        hint="name a column of strings as text_column",
    )


def kind_of(value: object) -> str:
    """What JSON would call a value."""
    names = {"dict": "mapping", "list": "list", "int": "number", "float": "number", "bool": "true or false"}
    kind = type(value).__name__
    return names.get(kind, "null" if value is None else "string" if kind == "str" else kind)
