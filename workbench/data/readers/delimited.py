"""CSV and TSV with a header line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from workbench.data.documents import Found, Tally
from workbench.data.opening import decoded_lines, open_binary
from workbench.data.readers.records import no_column
from workbench.errors import DataError

LONGEST_FIELD = 1 << 30


def read_csv(path: Path, column: str, tally: Tally) -> Iterator[Found]:
    """Yield one column of a comma-separated file."""
    return _read(path, column, ",")


def read_tsv(path: Path, column: str, tally: Tally) -> Iterator[Found]:
    """Yield one column of a tab-separated file."""
    return _read(path, column, "\t")


def _read(path: Path, column: str, delimiter: str) -> Iterator[Found]:
    header, rows = delimited_rows(path, delimiter, None)
    if not header:
        return
    if column not in header:
        raise no_column(column, header, f"{path}:1, the header line")
    index = header.index(column)
    for row, where in rows:
        yield row[index], where


def delimited_rows(
    path: Path, delimiter: str, names: Sequence[str] | None
) -> tuple[list[str], Iterator[tuple[list[str], str]]]:
    """The names of the columns, and the rows with where they stand.

    `names` are those of a file without a header line. No names and no rows where the file is blank.
    """
    rows = _rows(path, delimiter, names)
    header, _ = next(rows, ([], ""))
    return header, rows


def _rows(path: Path, delimiter: str, names: Sequence[str] | None) -> Iterator[tuple[list[str], str]]:
    """The header, then every row."""
    name = str(path)
    csv.field_size_limit(LONGEST_FIELD)
    with open_binary(path) as file:
        # Strict: a stray quote would else swallow all lines up to the next one without a word.
        rows = csv.reader(decoded_lines(file, name), delimiter=delimiter, strict=True)
        header = list(names) if names else _next(rows, name, 1)
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
            line = rows.line_num + 1
            row = _next(rows, name, line)
            if row is None:
                return
            if not row:
                continue
            if len(row) != len(header):
                what = "there are names for" if names else "the header has"
                raise DataError(
                    f"the record has {len(row)} fields, {what} {len(header)}",
                    where=f"{name}:{line}",
                    hint="a field that holds the delimiter stands in double quotes",
                )
            yield row, f"{name}:{line}"


def _next(rows: Iterator[list[str]], name: str, line: int) -> list[str] | None:
    try:
        return next(rows, None)
    except csv.Error as error:
        raise DataError(
            f"the record cannot be read: {error}",
            where=f"{name}:{line}",
            hint="a field with quotes or line ends stands in double quotes, its own quotes doubled",
        ) from None
