"""Parquet: one column is read, a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from workbench.data.documents import Found, Tally
from workbench.data.opening import reading_error
from workbench.data.readers.records import no_column
from workbench.errors import DataError

ROWS = 256


def read_parquet(path: Path, column: str, tally: Tally) -> Iterator[Found]:
    """Yield one column of a Parquet file; null counts as blank."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = str(path)
    try:
        with path.open("rb") as raw, pq.ParquetFile(raw) as file:
            schema = file.schema_arrow
            strings = [field.name for field in schema if _is_text(field.type)]
            if column not in schema.names:
                raise no_column(column, schema.names, name, strings)
            if column not in strings:
                kind = schema.field(column).type
                raise DataError(
                    f"column “{column}” holds {kind}, not text",
                    where=name,
                    hint=f"name a column of strings as text_column: {', '.join(strings) or 'there is none'}",
                )
            number = 0
            for batch in file.iter_batches(batch_size=ROWS, columns=[column]):
                for value in batch.column(0):
                    number += 1
                    yield value.as_py() or "", f"{name}:{number}"
    except pa.ArrowInvalid as error:
        raise DataError(f"the file is no sound Parquet file ({error})", where=name) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"row {number:,} is not UTF-8 text: byte {error.start} of its text", where=f"{name}:{number}"
        ) from None
    except OSError as error:
        raise reading_error(error, path) from None


def parquet_records(path: Path, first: int = 0) -> Iterator[tuple[object, str]]:
    """Yield each row with all its columns, and where, from row `first` on, counted from 0.

    Groups of rows before it are not read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = str(path)
    try:
        with path.open("rb") as raw, pq.ParquetFile(raw) as file:
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            number, groups = 0, list(range(file.num_row_groups))
            while groups and number + sizes[groups[0]] <= first:
                number += sizes[groups.pop(0)]
            for batch in file.iter_batches(batch_size=ROWS, row_groups=groups):
                skipped = min(max(0, first - number), batch.num_rows)
                number += skipped
                for record in batch.slice(skipped).to_pylist():
                    number += 1
                    yield record, f"{name}:{number}"
    except pa.ArrowInvalid as error:
        raise DataError(f"the file is no sound Parquet file ({error})", where=name) from None
    except UnicodeDecodeError as error:
        raise DataError(f"a row is not UTF-8 text: byte {error.start} of its text", where=name) from None
    except OSError as error:
        raise reading_error(error, path) from None


def parquet_rows(path: Path) -> int:
    """How many rows a file has, from its footer."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as raw, pq.ParquetFile(raw) as file:
            return int(file.metadata.num_rows)
    except pa.ArrowInvalid as error:
        raise DataError(f"the file is no sound Parquet file ({error})", where=str(path)) from None
    except OSError as error:
        raise reading_error(error, path) from None


def _is_text(kind: object) -> bool:
    """Strings of any width, also dictionary-encoded."""
    name = str(kind)
    return name in ("string", "large_string", "string_view") or (
        name.startswith("dictionary<") and "string" in name
    )
