"""The records of a file, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from workbench.data.documents import Tally
from workbench.data.opening import inner_suffix
from workbench.data.readers.conll import SUFFIXES, conll_records, looks_like_conll
from workbench.data.readers.delimited import DELIMITERS, delimited_records
from workbench.data.readers.json_array import json_records
from workbench.data.readers.json_lines import json_line_records
from workbench.data.readers.parquet import parquet_records
from workbench.data.readers.place import Place
from workbench.data.readers.text import read_text
from workbench.errors import DataError

Values = tuple[object, str]
"""What a record holds, a mapping if the file is right, and where it stands: `file:line`."""

JSON_LINES = (".jsonl", ".ndjson")


def file_records(
    path: Path, *, names: Sequence[str] | None = None, tagged: bool = False, place: Place | None = None
) -> Iterator[Values]:
    """Yield the records of a file, from `place` on in the formats that are read by line (`is_by_line`).

    `names` are the columns of a CSV or TSV file without a header line; `tagged` text is read as CoNLL
    columns, and so is text that looks like it. Raises `DataError` naming file and line.
    """
    suffix = inner_suffix(path)
    if names is not None and suffix not in DELIMITERS:
        raise DataError(
            "a list of names is for CSV and TSV files without a header line",
            where=str(path),
            hint=f"map names to columns instead: columns: {{{names[0] if names else 'text'}: COLUMN}}",
        )
    if suffix in JSON_LINES:
        return json_line_records(path, place)
    if suffix in DELIMITERS:
        return delimited_records(path, names, place)
    if suffix == ".json":
        return json_records(path)
    if suffix == ".parquet":
        return parquet_records(path)
    if is_conll(path, tagged):
        return conll_records(path, place)
    return (({"text": text}, where) for text, where in read_text(path, "text", Tally()))


def is_conll(path: Path, tagged: bool) -> bool:
    """Whether a file that is no format of records is read as words and tags."""
    return inner_suffix(path) in SUFFIXES or tagged or looks_like_conll(path)


def is_by_line(path: Path, tagged: bool) -> bool:
    """Whether reading a file can begin at any `Place`."""
    suffix = inner_suffix(path)
    if suffix in (".json", ".parquet"):
        return False
    return suffix in JSON_LINES or suffix in DELIMITERS or is_conll(path, tagged)
