"""The rows of a data file, each with where it stands: JSONL, CSV, TSV and Parquet."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from workbench.errors import DataError, storage_error

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = (*JSON_LINES, *DELIMITERS, ".parquet")
LONGEST_FIELD = 1 << 27
"""Characters of a CSV field; the module's own bound of 128 kB is less than a document."""

Row = tuple[dict[str, Any], str]
"""The values by column, and `file:line`."""


def read_rows(path: Path, header: Sequence[str] = ()) -> Iterator[Row]:
    """Every row of a file; `header` names the columns of a CSV or TSV file without a header line.

    Raises `DataError` naming file and line.
    """
    if path.suffix not in SUFFIXES:
        raise DataError(
            f"“{path.name}” is no data set", where=str(path), hint=f"a name ends in {', '.join(SUFFIXES)}"
        )
    if header and path.suffix not in DELIMITERS:
        raise DataError(
            "only a CSV or TSV file needs names for its columns",
            where=str(path),
            hint="other names for columns: variable=column",
        )
    try:
        if path.suffix == ".parquet":
            yield from _parquet(path)
            return
        with path.open(encoding="utf-8-sig", newline="" if path.suffix in DELIMITERS else None) as file:
            yield from _delimited(file, path, header) if path.suffix in DELIMITERS else _json(file, path)
    except FileNotFoundError:
        raise DataError("there is no such file", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise DataError(f"not a text file (byte {error.start} is not UTF-8)", where=str(path)) from None
    except OSError as error:
        raise storage_error(error, path) from None


def digest(path: Path) -> str:
    """The SHA-256 of a file. Raises `DataError`, `StorageError`."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise DataError("there is no such file", where=str(path)) from None
    except OSError as error:
        raise storage_error(error, path) from None


def _json(file: IO[str], path: Path) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"the line is not JSON: {error}", where=where) from None
        if not isinstance(value, dict):
            hint = 'a row is {"question": "…", "answer": "…"}'
            raise DataError("the line is not a JSON object", where=where, hint=hint)
        yield value, where


def _delimited(file: IO[str], path: Path, names: Sequence[str]) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_FIELD)
    # Strict: a stray quote would else swallow all lines up to the next one without a word.
    reader = csv.reader(file, delimiter=DELIMITERS[path.suffix], strict=True)
    begins = 1
    try:
        header = list(names) or next(reader, [])
        begins = reader.line_num + 1
        for row in reader:
            where, begins = f"{path}:{begins}", reader.line_num + 1
            if not row:
                continue
            if len(row) != len(header):
                raise DataError(
                    f"the row has {len(row)} fields, {len(header)} columns are named",
                    where=where,
                    hint="a field that holds the delimiter stands in double quotes",
                )
            yield dict(zip(header, row, strict=True)), where
    except csv.Error as error:
        raise DataError(
            f"the row cannot be read: {error}",
            where=f"{path}:{begins}",
            hint="a field with quotes or line ends stands in double quotes, its own quotes doubled",
        ) from None


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with path.open("rb") as raw, pq.ParquetFile(raw) as file:
            for batch in file.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    number += 1
                    yield row, f"{path}:{number}"
    except pa.ArrowInvalid as error:
        raise DataError(f"the file is no sound Parquet file ({error})", where=str(path)) from None
