"""Records of a source, under the names that the workbench knows, with the kind they are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from workbench.data.documents import Tally
from workbench.data.kinds import Detected, check, detect, number_of
from workbench.data.opening import inner_suffix
from workbench.data.readers import read_text
from workbench.data.readers.conll import SUFFIXES, conll_records, looks_like_conll
from workbench.data.readers.delimited import delimited_rows
from workbench.data.readers.hub import hub_records
from workbench.data.readers.json_array import json_records
from workbench.data.readers.json_lines import json_line_records
from workbench.data.readers.parquet import parquet_records
from workbench.data.readers.records import kind_of
from workbench.data.sources import Source, find_source
from workbench.errors import DataError
from workbench.recipe import SourceSpec

SAMPLES = 100
"""Records that a kind is detected from."""

DELIMITERS = {".csv": ",", ".tsv": "\t"}


class Record(NamedTuple):
    """One record: its columns under our names, and where it stands: `file:line`."""

    values: dict[str, Any]
    where: str


@dataclass
class RecordSource:
    """A source, found; its records can be read as often as one likes."""

    source: Source

    @classmethod
    def find(cls, spec: SourceSpec) -> RecordSource:
        """What a source of a recipe means. Raises `DataError` when it means nothing."""
        return cls(find_source(spec))

    @property
    def spec(self) -> SourceSpec:
        """What the recipe says of it."""
        return self.source.spec

    @cached_property
    def detected(self) -> Detected:
        """The kind of its records, from the first of them, or as the recipe names it.

        Raises `DataError` when their columns fit no kind, or not the one that was named.
        """
        first: dict[str, list[Record]] = {}
        for record in islice(self.records(), SAMPLES):
            first.setdefault(", ".join(sorted(record.values)), []).append(record)
        if not first:
            raise DataError("the source holds no records", where=self.spec.path)
        samples = max(first.values(), key=len)
        columns, where = list(samples[0].values), samples[0].where
        if self.spec.kind is not None:
            check(self.spec.kind, columns, where)
            return Detected(self.spec.kind, "the recipe names it", tuple(columns))
        try:
            return detect(columns, [sample.values for sample in samples], where)
        except DataError as error:
            raise self._without_header(columns, where) or error from None

    def records(self) -> Iterator[Record]:
        """Every record, at most `limit`. Raises `DataError` naming file and line."""
        return islice(self._all(), self.spec.limit)

    def _all(self) -> Iterator[Record]:
        for values, where in self._raw():
            if not isinstance(values, dict):
                raise DataError(
                    f"a {kind_of(values)} where a record was expected",
                    where=where,
                    hint='a record is a mapping like {"text": "…", "label": "…"}',
                )
            yield Record(self._renamed(values), where)

    def _raw(self) -> Iterator[tuple[object, str]]:
        if self.source.kind == "dataset":
            yield from hub_records(self.spec, self.source.folder)
        for path in self.source.files if self.source.kind == "files" else ():
            yield from self._of_file(path)

    def _of_file(self, path: Path) -> Iterator[tuple[object, str]]:
        suffix = inner_suffix(path)
        if suffix in (".jsonl", ".ndjson"):
            yield from json_line_records(path)
        elif suffix == ".json":
            yield from json_records(path)
        elif suffix == ".parquet":
            yield from parquet_records(path)
        elif suffix in DELIMITERS:
            names = self.spec.columns if isinstance(self.spec.columns, list) else None
            header, rows = delimited_rows(path, DELIMITERS[suffix], names)
            for row, where in rows:
                yield dict(zip(header, row, strict=True)), where
        elif suffix in SUFFIXES or self.spec.kind == "tagging" or looks_like_conll(path):
            yield from conll_records(path)
        else:
            for text, where in read_text(path, "text", Tally()):
                yield {"text": text}, where

    def _renamed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Columns under our names; the text column is what the recipe says."""
        names = dict(self.spec.columns) if isinstance(self.spec.columns, dict) else {}
        if self.spec.text_column != "text" and "text" not in names:
            names["text"] = self.spec.text_column
        theirs = {column: ours for ours, column in names.items()}
        return {theirs.get(column, column): value for column, value in values.items()}

    def _without_header(self, columns: list[str], where: str) -> DataError | None:
        """The error for a file whose first line is a record and not names: its last cell is a number."""
        path = Path(where.rpartition(":")[0])
        if inner_suffix(path) not in DELIMITERS or not isinstance(self.spec.columns, type(None)):
            return None
        if len(columns) < 2 or number_of(columns[-1]) is None:
            return None
        names = ["text", "text_pair", "label"] if len(columns) == 3 else ["text", "label"]
        return DataError(
            f"the file seems to have no header line: its first line ends in “{columns[-1]}”",
            where=f"{path}:1",
            hint=f"name its columns in the recipe: columns: [{', '.join(names)}]",
        )
