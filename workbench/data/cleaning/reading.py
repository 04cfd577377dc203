"""Reading the shards of a plan, as the first block of the first pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path

from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from workbench.data.cleaning import live
from workbench.data.cleaning.items import Item
from workbench.data.cleaning.layout import Layout
from workbench.data.cleaning.plan import BLOCK, Piece, Plan, sources_of
from workbench.data.kinds import check
from workbench.data.readers.columns import names_of
from workbench.data.readers.file_records import Values, file_records
from workbench.data.readers.hub import hub_records
from workbench.data.readers.json_lines import json_line_records
from workbench.data.readers.parquet import parquet_records
from workbench.data.readers.place import Place
from workbench.data.records.reading import RecordSource


class SourceReader(PipelineStep):
    """The records of a shard, one by one."""

    type, name = "reader", "sources"

    def __init__(self, folder: Path, stage: str) -> None:
        super().__init__()
        self.folder, self.stage = folder, stage

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        plan = _plan(self.folder)
        sources = _sources(self.folder)
        with live.task(self.folder, self.stage, rank):
            yield from items_of(plan, plan.shards[rank], sources)


@lru_cache(maxsize=1)
def _plan(folder: Path) -> Plan:
    return Plan.from_json(Layout(folder).plan.read_bytes())


@lru_cache(maxsize=1)
def _sources(folder: Path) -> list[RecordSource]:
    """Found once a process, which has many tasks: there may be as many files as shards."""
    return sources_of(Layout(folder).cleaning.recipe())


def items_of(plan: Plan, shard: list[Piece], sources: list[RecordSource]) -> Iterator[Item]:
    """The records of a shard. Raises `DataError` naming file and line."""
    number = shard[0].source
    found = (item for piece in shard for item in _of_piece(plan, piece, sources[piece.source]))
    return islice(islice(found, plan.limits.get(number)), plan.each)


def _of_piece(plan: Plan, piece: Piece, source: RecordSource) -> Iterator[Item]:
    for values, where in source.named(_values(piece, source)):
        check(plan.kind, tuple(values), where)
        yield Item(values, plan.kind, piece.source, where)


def _values(piece: Piece, source: RecordSource) -> Iterator[Values]:
    if piece.path is None:
        return _turn(hub_records(source.spec, source.source.folder), piece)
    path = Path(piece.path)
    if piece.how == "lines":
        return _lines(path, piece)
    if piece.how == "rows":
        return islice(parquet_records(path, piece.first), piece.last - piece.first)
    found = file_records(path, names=names_of(source.spec), tagged=source.tagged)
    return _turn(found, piece) if piece.how == "turns" else found


def _turn(found: Iterator[Values], piece: Piece) -> Iterator[Values]:
    for number, values in enumerate(found):
        if number // BLOCK % piece.last == piece.first:
            yield values


def _lines(path: Path, piece: Piece) -> Iterator[Values]:
    place = Place(piece.first, piece.line)
    found = json_line_records(path, place)
    while place.offset < piece.last:
        values = next(found, None)
        # Behind blank lines there may be a line of the next part.
        if values is None or int(values[1].rpartition(":")[2]) >= piece.end_line:
            return
        yield values
