"""Looking into a source: any of its records at once, how many there are, and which of them hold a word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from workbench.data.kinds import Detected
from workbench.data.opening import COMPRESSED, inner_suffix, reading_error
from workbench.data.readers.columns import names_of
from workbench.data.readers.file_records import Values, file_records, is_by_line
from workbench.data.readers.hub import hub_records
from workbench.data.readers.parquet import parquet_records, parquet_rows
from workbench.data.readers.place import Place
from workbench.data.records.reading import Record, RecordSource
from workbench.data.ticker import Progress, Ticker
from workbench.recipe import SourceSpec

EVERY = 64
"""Records between two places that are remembered: at most 63 to pass over, and some two bytes a record."""

COUNTING = "counting the records"


@dataclass
class _Shelf:
    """What is known of one file, or of a whole data set: the number of its records as far as they were
    counted, and where every 64th begins."""

    path: Path | None
    places: list[Place] = field(default_factory=list)
    known: int = 0
    complete: bool = False


class Browser:
    """The records of a source under our names, by number from 0, in the order in which they are trained on.

    Files are indexed as far as one has looked, JSON Lines, CSV, CoNLL and Parquet so that any record of
    what is indexed is read without those before it; of other formats, and of packed files, the file is read
    from its beginning. Memory is that of the records asked for, and some two bytes for each that is indexed.
    Files must stay as they are.
    Errors of reading are `DataError`s that name file and line; the records before them can be looked at.
    """

    def __init__(self, spec: SourceSpec) -> None:
        """Raises `DataError` when the source means nothing."""
        self.source = RecordSource.find(spec)
        files = self.source.source.files if self.source.source.kind == "files" else (None,)
        self._shelves = [_Shelf(path) for path in files]
        # Where the last page ended, the next one goes on, also in what cannot be entered in the middle.
        self._stream: Iterator[Record] | None = None
        self._position = 0

    @property
    def detected(self) -> Detected:
        """The kind of the records and why. Raises `DataError` when it is none."""
        return self.source.detected

    @property
    def files(self) -> list[tuple[Path, int]]:
        """The files and their bytes. Raises `DataError` for one that is gone."""
        found = []
        for path in self.source.source.files:
            try:
                found.append((path, path.stat().st_size))
            except OSError as error:
                raise reading_error(error, path) from None
        return found

    @property
    def known(self) -> int:
        """How many records there are at least."""
        return self._limited(sum(shelf.known for shelf in self._shelves))

    @property
    def is_counted(self) -> bool:
        """Whether `known` is all of them."""
        limit = self.source.spec.limit
        return all(shelf.complete for shelf in self._shelves) or (limit is not None and self.known >= limit)

    def count(self, progress: Progress | None = None) -> int:
        """How many records there are, read to the end the first time; `progress` hears of records."""
        ticker = Ticker(progress or _silent, COUNTING)
        for shelf in self._shelves:
            if not shelf.complete and not self._reached():
                self._index(shelf, ticker)
        ticker.finish()
        return self.known

    def records(self, start: int, count: int) -> list[Record]:
        """`count` records from number `start` on, fewer at the end, none behind it."""
        if self._stream is None or self._position != start:
            self._stream = self.iterate(start)
        stream, self._stream = self._stream, None  # an error on the way leaves none behind
        found = list(islice(stream, count))
        self._stream, self._position = stream, start + len(found)
        return found

    def search(self, text: str, start: int = 0, progress: Progress | None = None) -> int | None:
        """The number of the first record from `start` on that holds a text, in any column and any case."""
        wanted = text.casefold()
        ticker = Ticker(progress or _silent, "searching")
        for number, record in enumerate(self.iterate(start), start):
            if _holds(record.values, wanted):
                return number
            ticker.add(1)
        return None

    def iterate(self, start: int = 0) -> Iterator[Record]:
        """The records from number `start` on."""
        limit = self.source.spec.limit
        return islice(self._from(start), None if limit is None else max(0, limit - start))

    def _from(self, start: int) -> Iterator[Record]:
        for shelf in self._shelves:
            if not shelf.complete and shelf.path is not None and inner_suffix(shelf.path) == ".parquet":
                shelf.known, shelf.complete = parquet_rows(shelf.path), True
            if shelf.complete and start >= shelf.known:
                start -= shelf.known
                continue
            passed = 0
            for record in self.source.named(self._of_shelf(shelf, start)):
                passed += 1
                yield record
            # It went to the end: how many there are is known now.
            start = max(0, start - shelf.known) if not passed else 0

    def _of_shelf(self, shelf: _Shelf, start: int) -> Iterator[Values]:
        """The records of one shelf from its number `start` on; what is passed is indexed."""
        if shelf.path is not None and inner_suffix(shelf.path) == ".parquet":
            yield from parquet_records(shelf.path, start)
            return
        known = min(start // EVERY, len(shelf.places) - 1)
        first = max(0, known) * EVERY
        place = replace(shelf.places[known]) if known >= 0 else Place()
        for number, values in enumerate(self._read(shelf, place, first), first):
            if number >= start:
                yield values

    def _read(self, shelf: _Shelf, place: Place, number: int) -> Iterator[Values]:
        """Records from `place` on, of which the first has this number; remembers where each 64th begins."""
        if shelf.path is None:
            found: Iterator[Values] = hub_records(self.source.spec, self.source.source.folder)
            by_line = False
        else:
            names, tagged = names_of(self.source.spec), self.source.tagged
            by_line = shelf.path.suffix.lower() not in COMPRESSED and is_by_line(shelf.path, tagged)
            found = file_records(shelf.path, names=names, tagged=tagged, place=place)
        here = replace(place)
        for values in found:
            if by_line and number == len(shelf.places) * EVERY:
                shelf.places.append(here)
            number += 1
            shelf.known = max(shelf.known, number)
            if number % EVERY == 0:
                here = replace(place)
            yield values
        shelf.complete = True

    def _index(self, shelf: _Shelf, ticker: Ticker) -> None:
        if shelf.path is not None and inner_suffix(shelf.path) == ".parquet":
            shelf.known, shelf.complete = parquet_rows(shelf.path), True
            return
        for _ in self._of_shelf(shelf, max(0, len(shelf.places) - 1) * EVERY):
            ticker.add(1)
            if self._reached():
                return

    def _reached(self) -> bool:
        limit = self.source.spec.limit
        return limit is not None and sum(shelf.known for shelf in self._shelves) >= limit

    def _limited(self, count: int) -> int:
        limit = self.source.spec.limit
        return count if limit is None else min(count, limit)


def _holds(value: Any, wanted: str) -> bool:
    if isinstance(value, dict):
        return any(_holds(item, wanted) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(_holds(item, wanted) for item in value)
    return value is not None and wanted in str(value).casefold()


def _silent(what: str, done: int, total: int | None) -> None:
    pass
