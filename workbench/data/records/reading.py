"""Records of a source, under the names that the workbench knows, with the kind they are of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from workbench.data.kinds import Detected
from workbench.data.readers.columns import mapping_of, names_of, renamed
from workbench.data.readers.dialects import translated
from workbench.data.readers.file_records import Values, file_records
from workbench.data.readers.hub import hub_records
from workbench.data.readers.records import kind_of
from workbench.data.sources import Source, find_source
from workbench.errors import DataError
from workbench.recipe import SourceSpec


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

    @property
    def tagged(self) -> bool:
        """Text files are words with tags."""
        return self.spec.kind == "tagging"

    @cached_property
    def detected(self) -> Detected:
        """The kind of its records, from the first of them, or as the recipe names it; see `detection`."""
        from workbench.data.records.detection import detect_source

        return detect_source(self)

    def records(self) -> Iterator[Record]:
        """Every record, at most `limit`. Raises `DataError` naming file and line."""
        return islice(self.named(self._values()), self.spec.limit)

    def records_of(self, path: Path) -> Iterator[Record]:
        """The records of one of its files."""
        return self.named(file_records(path, names=names_of(self.spec), tagged=self.tagged))

    def named(self, found: Iterator[Values]) -> Iterator[Record]:
        """Records as a file holds them, under our names."""
        mapping = mapping_of(self.spec)
        for values, where in found:
            if not isinstance(values, dict):
                raise DataError(
                    f"a {kind_of(values)} where a record was expected",
                    where=where,
                    hint='a record is a mapping like {"text": "…", "label": "…"}',
                )
            yield Record(translated(renamed(values, mapping), where), where)

    def _values(self) -> Iterator[Values]:
        if self.source.kind == "dataset":
            yield from hub_records(self.spec, self.source.folder)
        for path in self.source.files if self.source.kind == "files" else ():
            yield from file_records(path, names=names_of(self.spec), tagged=self.tagged)
