"""How the sources are cut into shards. It follows from the files and the recipe, and from nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from workbench.data.cleaning.items import TEXT_COLUMNS
from workbench.data.opening import COMPRESSED, inner_suffix, reading_error
from workbench.data.readers.file_records import JSON_LINES
from workbench.data.readers.parquet import parquet_rows
from workbench.data.records.reading import RecordSource
from workbench.errors import DataError
from workbench.recipe.cleaning import CleaningRecipe

BLOCK = 256
"""Records that go to one shard together where a file cannot be entered in the middle."""

MOST_TURNS = 16
"""Shards of such a file: each of them reads it from its beginning, and parses only what is its own."""

PACKED = 4
"""How much larger the text of a packed file is taken to be than the file."""


@dataclass(frozen=True)
class Piece:
    """What a shard reads of one source: a whole file (`path` None: the data set), or a part of it.

    `lines`: bytes `first` to `last` of a file of lines, of which the first is number `line` and the one
    behind the last `end_line`. `rows`: rows `first` to `last` of a Parquet file. `turns`: of blocks of
    `BLOCK` records every `last`-th from number `first` on.
    """

    source: int
    path: str | None
    how: str = "whole"
    first: int = 0
    last: int = 0
    line: int = 1
    end_line: int = 0


@dataclass(frozen=True)
class Plan:
    """All shards, the kind of the records, and what the files were like when it was made."""

    kind: str
    shards: list[list[Piece]]
    signature: list[Any]
    limits: dict[int, int] = field(default_factory=dict)
    each: int | None = None
    """At most so many records of each shard: a trial."""

    def to_json(self) -> bytes:
        return orjson.dumps(asdict(self), option=orjson.OPT_NON_STR_KEYS | orjson.OPT_INDENT_2)

    @classmethod
    def from_json(cls, data: bytes) -> Plan:
        value = orjson.loads(data)
        shards = [[Piece(**piece) for piece in shard] for shard in value["shards"]]
        limits = {int(number): limit for number, limit in value["limits"].items()}
        return cls(value["kind"], shards, value["signature"], limits, value["each"])


def sources_of(recipe: CleaningRecipe) -> list[RecordSource]:
    """The sources of a recipe, found. Raises `DataError`."""
    return [RecordSource.find(spec) for spec in recipe.data.sources]


def signature_of(sources: Sequence[RecordSource]) -> list[Any]:
    """Changes when a file that is read may have changed."""
    found: list[Any] = orjson.loads(orjson.dumps([source.source.signature() for source in sources]))
    return found


def make_plan(recipe: CleaningRecipe) -> Plan:
    """Cut the sources of a recipe into shards. Raises `DataError` where they are not of one kind."""
    sources = sources_of(recipe)
    kinds = [source.detected.kind for source in sources]
    for source, kind in zip(sources, kinds, strict=True):
        if kind != kinds[0] and {kind, kinds[0]} != {"classification", "regression"}:
            raise DataError(
                f"the sources hold records of different kinds: {kinds[0]} and {kind}",
                where=f"{sources[0].spec.path} and {source.spec.path}",
                hint="clean them apart, or name a common kind as data.sources.0.kind",
            )
    if kinds[0] not in TEXT_COLUMNS:
        raise DataError(f"records of the kind {kinds[0]} cannot be cleaned", where=sources[0].spec.path)
    size = max(1, int(recipe.executor.shard_megabytes * 1e6))
    shards = [shard for number, source in enumerate(sources) for shard in _shards(number, source, size)]
    limits = {n: source.spec.limit for n, source in enumerate(sources) if source.spec.limit is not None}
    return Plan(kinds[0], shards, signature_of(sources), limits)


def _shards(number: int, source: RecordSource, size: int) -> Iterator[list[Piece]]:
    if source.source.kind == "dataset":
        files = source.source.files
        turns = _turns(sum(_size(path) for path in files), size) if files and source.spec.limit is None else 1
        yield from ([Piece(number, None, "turns", turn, turns)] for turn in range(turns))
        return
    if source.spec.limit is not None:
        # The first so many are meant, and only one task can count them.
        yield [Piece(number, str(path)) for path in source.source.files]
        return
    together: list[Piece] = []
    held = 0
    for path in source.source.files:
        length = _size(path)
        # What is packed is larger than it looks.
        if length * _packing(path) > size and (parts := list(_parts(number, path, length, size))):
            if together:
                yield together
            together, held = [], 0
            yield from ([part] for part in parts)
            continue
        together.append(Piece(number, str(path)))
        held += length
        if held >= size:
            yield together
            together, held = [], 0
    if together:
        yield together


def _parts(number: int, path: Path, length: int, size: int) -> Iterator[Piece]:
    """A large file in parts; none where it is one document, or no larger than a shard when unpacked."""
    suffix, unpacked = inner_suffix(path), length * _packing(path)
    if suffix in JSON_LINES and unpacked == length:
        yield from _line_parts(number, path, length, size)
    elif suffix == ".parquet":
        rows = parquet_rows(path)
        count = max(1, min(rows, -(-unpacked // size)))
        bounds = [rows * part // count for part in range(count + 1)]
        for first, last in zip(bounds, bounds[1:], strict=False):
            yield Piece(number, str(path), "rows", first, last)
    elif suffix in (".csv", ".tsv", ".json", *JSON_LINES):
        turns = _turns(unpacked, size)
        yield from (Piece(number, str(path), "turns", turn, turns) for turn in range(turns))


def _line_parts(number: int, path: Path, length: int, size: int) -> Iterator[Piece]:
    """Parts of about `size` bytes, from line to line; counting the lines reads the file once."""
    try:
        with path.open("rb") as file:
            begin, line = 0, 1
            while begin < length:
                file.seek(min(length, begin + size))
                file.readline()
                end = file.tell()
                file.seek(begin)
                behind = line + _line_ends(file, end - begin)
                # A last line without its end is a line too.
                yield Piece(number, str(path), "lines", begin, end, line, behind + (end >= length))
                begin, line = end, behind
    except OSError as error:
        raise reading_error(error, path) from None


def _line_ends(file: BinaryIO, count: int) -> int:
    found = 0
    while count > 0 and (block := file.read(min(count, 1 << 22))):
        found += block.count(b"\n")
        count -= len(block)
    return found


def _packing(path: Path) -> int:
    return PACKED if path.suffix.lower() in (*COMPRESSED, ".parquet") else 1


def _turns(length: int, size: int) -> int:
    return max(1, min(MOST_TURNS, -(-length // size)))


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise reading_error(error, path) from None
