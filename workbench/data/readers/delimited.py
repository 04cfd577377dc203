"""CSV and TSV, with a header line or with the names of the columns from the recipe."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from workbench.data.documents import Found, Tally
from workbench.data.opening import decode, inner_suffix, open_binary
from workbench.data.readers.place import Place
from workbench.data.readers.records import no_column
from workbench.errors import DataError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
LONGEST_FIELD = 1 << 27
"""Characters. The CSV reader takes a second for 25 million, and mostly a quote was not closed."""


def read_delimited(
    path: Path, column: str, tally: Tally, names: Sequence[str] | None = None
) -> Iterator[Found]:
    """Yield one column; `names` are those of a file without a header line."""
    header, rows = delimited_rows(path, names)
    if not header:
        return
    if column not in header:
        raise no_column(column, header, f"{path}:1, the header line" if names is None else f"{path}:1")
    index = header.index(column)
    for row, where in rows:
        yield row[index], where


def delimited_records(
    path: Path, names: Sequence[str] | None = None, place: Place | None = None
) -> Iterator[tuple[dict[str, str], str]]:
    """Yield each row by the names of its columns, and where it begins."""
    header, rows = delimited_rows(path, names, place)
    for row, where in rows:
        yield dict(zip(header, row, strict=True)), where


def delimited_rows(
    path: Path, names: Sequence[str] | None, place: Place | None = None
) -> tuple[list[str], Iterator[tuple[list[str], str]]]:
    """The names of the columns, and the rows with where they stand.

    `names` are those of a file without a header line. No names and no rows where the file is blank.
    """
    place = place or Place()
    if names is None and place.offset:
        header, _ = next(_rows(path, None, Place()), ([], ""))
        rows = _rows(path, header, place)
        next(rows)
    else:
        rows = _rows(path, names, place)
        header, _ = next(rows, ([], ""))
    return header, rows


def _rows(path: Path, names: Sequence[str] | None, place: Place) -> Iterator[tuple[list[str], str]]:
    """The header, then every row."""
    name = str(path)
    csv.field_size_limit(LONGEST_FIELD)
    with open_binary(path) as file:
        if place.offset:
            file.seek(place.offset)
        # Strict: a stray quote would else swallow all lines up to the next one without a word.
        lines = _lines(file, name, place)
        rows = csv.reader(lines, delimiter=DELIMITERS[inner_suffix(path)], strict=True)
        header = list(names) if names else _next(rows, f"{name}:1")
        if header is None:
            return
        twice = next((column for column in header if header.count(column) > 1), None)
        if twice is not None:
            raise DataError(
                f"the column “{twice}” stands twice in the header",
                where=f"{name}:1",
                hint="give each column a name of its own",
            )
        yield header, f"{name}:1"
        while True:
            where = f"{name}:{place.line}"
            row = _next(rows, where)
            if row is None:
                return
            if not row:
                continue
            if len(row) != len(header):
                what = "there are names for" if names else "the header has"
                raise DataError(
                    f"the record has {len(row)} fields, {what} {len(header)}",
                    where=where,
                    hint="a field that holds the delimiter stands in double quotes",
                )
            yield row, where


def _lines(file: BinaryIO, name: str, place: Place) -> Iterator[str]:
    """The lines as the CSV reader takes them, one record's at a time."""
    for line in file:
        offset, number = place.offset, place.line
        place.offset += len(line)
        place.line += 1
        text = decode(line, f"{name}:{number}", offset)
        yield text if offset else text.removeprefix("\ufeff")


def _next(rows: Iterator[list[str]], where: str) -> list[str] | None:
    try:
        return next(rows, None)
    except csv.Error as error:
        raise DataError(
            f"the record cannot be read: {error}",
            where=where,
            hint="a field with quotes or line ends stands in double quotes, its own quotes doubled",
        ) from None
