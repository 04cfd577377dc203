"""The records of a file to predict for: of any format that is read, or the lines of a text."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from workbench.data.opening import decoded_lines, inner_suffix, open_binary
from workbench.data.readers import RECORD_READERS
from workbench.data.readers.conll import SUFFIXES, looks_like_conll
from workbench.data.records.reading import Record, RecordSource
from workbench.errors import DataError
from workbench.recipe import SourceSpec

NEEDED: dict[str, tuple[str, ...]] = {
    "classification": ("text",),
    "regression": ("text",),
    "tagging": ("tokens",),
    "span_extraction": ("question", "context"),
    "mlm": ("text",),
    "reward": (),
}
"""The columns that an answer is made from."""
SEPARATOR = " | "
"""In a line of text, between a question and its context."""


def read_records(file: str, objective: str, columns: list[str] | dict[str, str] | None) -> Iterator[Record]:
    """The records one by one, with the columns that the objective needs. Raises `DataError`."""
    source = RecordSource.find(SourceSpec(path=file, columns=columns))
    found = False
    for record in _all(source, Path(file).expanduser(), objective):
        found = True
        missing = [name for name in NEEDED[objective] if name not in record.values]
        if missing:
            raise missing_column(missing[0], list(record.values), record.where)
        yield record
    if not found:
        raise DataError("the file holds no records", where=file)


def _all(source: RecordSource, path: Path, objective: str) -> Iterator[Record]:
    lines = path.is_file() and inner_suffix(path) not in (*RECORD_READERS, *SUFFIXES)
    if not lines or (objective == "tagging" and looks_like_conll(path)):
        for record in source.records():
            yield _split_words(record) if objective == "tagging" else record
        return
    with open_binary(path) as stream:
        for number, line in enumerate(decoded_lines(stream, str(path)), 1):
            if text := line.strip():
                yield _record_of(text, objective, f"{path}:{number}")


def _split_words(record: Record) -> Record:
    text = record.values.get("text")
    if "tokens" in record.values or not isinstance(text, str):
        return record
    return Record({**record.values, "tokens": text.split()}, record.where)


def _record_of(line: str, objective: str, where: str) -> Record:
    if objective == "tagging":
        return Record({"tokens": line.split()}, where)
    if objective != "span_extraction":
        return Record({"text": line}, where)
    question, separator, context = line.partition(SEPARATOR)
    if not separator:
        raise DataError(
            "the line has no context",
            where=where,
            hint=f"write: question{SEPARATOR}context; or records with the columns question and context",
        )
    return Record({"question": question, "context": context}, where)


def missing_column(name: str, columns: list[str], where: str) -> DataError:
    """The error for records without a column that is needed."""
    near = difflib.get_close_matches(name, columns, n=1) or columns[:1]
    return DataError(
        f"no column “{name}”; the columns are {', '.join(columns) or '(none)'}",
        where=where,
        hint=f"name the column that holds it: --columns {name}={near[0]}" if near else "",
    )
