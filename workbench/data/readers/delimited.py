"""CSV and TSV with a header line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
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
    name = str(path)
    csv.field_size_limit(LONGEST_FIELD)
    with open_binary(path) as file:
        # Strict: a stray quote would else swallow all lines up to the next one without a word.
        rows = csv.reader(decoded_lines(file, name), delimiter=delimiter, strict=True)
        header, line = next(rows, None), 1
        if header is None:
            return
        if column not in header:
            raise no_column(column, header, f"{name}:1, the header line")
        index = header.index(column)
        while True:
            line = rows.line_num + 1
            try:
                row = next(rows, None)
            except csv.Error as error:
                raise DataError(
                    f"the record cannot be read: {error}",
                    where=f"{name}:{line}",
                    hint="a field with quotes or line ends stands in double quotes, its own quotes doubled",
                ) from None
            if row is None:
                return
            if not row:
                continue
            if len(row) != len(header):
                raise DataError(
                    f"the record has {len(row)} fields, the header has {len(header)}",
                    where=f"{name}:{line}",
                    hint="a field that holds the delimiter stands in double quotes",
                )
            yield row[index], f"{name}:{line}"
