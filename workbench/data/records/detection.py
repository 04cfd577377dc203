"""Which kind the records of a source are of: the same in all its files, or an error that says where not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.data.kinds import Detected, check, detect, number_of
from workbench.data.opening import inner_suffix
from workbench.data.readers.columns import check_names, mapping_of, names_of
from workbench.data.readers.delimited import DELIMITERS, delimited_rows
from workbench.errors import DataError

if TYPE_CHECKING:
    from workbench.data.records.reading import Record, RecordSource

SAMPLES = 100
"""Records that a kind is detected from."""

FILES, SAMPLES_OF_A_FILE = 50, 20
"""Further files that are looked into, evenly spread, and how far."""

NUMBERS = {"classification", "regression"}
"""Labels of one file may all be whole, and those of the next have fractions."""


def detect_source(source: RecordSource) -> Detected:
    """The kind of a source's records.

    Raises `DataError` when their columns fit no kind, or not the one that the recipe names, and when files
    hold different kinds.
    """
    if source.source.kind == "dataset":
        samples = list(islice(source.records(), SAMPLES))
        if not samples:
            raise _none(source.spec.path)
        return _of_samples(source, samples, None)
    first: tuple[Path, Detected] | None = None
    for path in _some(source.source.files):
        wanted = SAMPLES if first is None else SAMPLES_OF_A_FILE
        samples = list(islice(source.records_of(path), min(wanted, source.spec.limit or wanted)))
        if not samples:
            continue
        found = _of_samples(source, samples, path)
        if first is None:
            first = path, found
        elif {found.kind, first[1].kind} == NUMBERS:
            first = first if first[1].kind == "regression" else (path, found)
        elif found.kind != first[1].kind:
            raise DataError(
                f"the files hold different kinds of records: {first[1].kind} in “{first[0].name}”, "
                f"{found.kind} in “{path.name}”",
                where=f"{first[0]} and {path}",
                hint="make them sources of their own, or name the kind that is meant as kind",
            )
    if first is None:
        raise _none(source.spec.path)
    return first[1]


def _none(path: str) -> DataError:
    return DataError("the source holds no records", where=path, hint="name a source with records in it")


def _some(files: Sequence[Path]) -> list[Path]:
    step = max(1, -(-len(files) // (FILES + 1)))
    return list(files[::step])


def _of_samples(source: RecordSource, samples: Sequence[Record], path: Path | None) -> Detected:
    # Of records of several shapes, the commonest one speaks.
    shapes: dict[str, list[Record]] = {}
    for record in samples:
        shapes.setdefault(", ".join(sorted(record.values)), []).append(record)
    common = max(shapes.values(), key=len)
    columns, where = list(common[0].values), common[0].where
    try:
        _check_mapping(source, columns, where)
        if source.spec.kind is not None:
            check(source.spec.kind, columns, where)
            return Detected(source.spec.kind, "the recipe names it", tuple(columns))
        return detect(columns, [record.values for record in common], where)
    except DataError as error:
        raise _without_header(source, path) or error from None


def _check_mapping(source: RecordSource, columns: Sequence[str], where: str) -> None:
    """The columns that a recipe maps must be there; those that were found are here by our names."""
    mapping = {ours: theirs for ours, theirs in mapping_of(source.spec).items() if ours not in columns}
    # `text_column` is said of all sources of text, and of a conversation it means nothing.
    if not isinstance(source.spec.columns, dict):
        mapping.pop("text", None)
    check_names(mapping, columns, where)


def _without_header(source: RecordSource, path: Path | None) -> DataError | None:
    """The error for a file whose first line is a record and not names: its last cell is a label.

    That is, a number, or what stands in the same place of later lines.
    """
    if path is None or inner_suffix(path) not in DELIMITERS or names_of(source.spec) is not None:
        return None
    header, rows = delimited_rows(path, None)
    last = [row[-1] for row, _ in islice(rows, SAMPLES)]
    if len(header) < 2 or not (header[-1] in last or number_of(header[-1]) is not None):
        return None
    names = ["text", "text_pair", "label"] if len(header) == 3 else ["text", "label"]
    return DataError(
        f"the file seems to have no header line: its first line ends in “{header[-1][:60]}”",
        where=f"{path}:1",
        hint=f"name its columns in the recipe: columns: [{', '.join(names)}]",
    )
