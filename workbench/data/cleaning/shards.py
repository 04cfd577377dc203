"""Records between two stages: a Parquet file a shard, written whole, read a group at a time."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from workbench.data.cleaning import live
from workbench.data.cleaning.items import Item, joined
from workbench.data.cleaning.layout import Layout, read_array, shard_name, whole, write_array
from workbench.data.cleaning.plan import Plan
from workbench.errors import DataError

GROUP_ROWS, GROUP_BYTES = 512, 16 << 20
"""What is held at once: so many records, or so many bytes of them."""

SCHEMA = pa.schema(
    [("where", pa.string()), ("source", pa.int32()), ("language", pa.string()), ("record", pa.binary())]
)


def packed(item: Item) -> bytes:
    """A record as JSON. Raises `DataError` naming the column that JSON cannot hold."""
    values = item.cleaned()
    try:
        return orjson.dumps(values, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError):
        pass
    try:
        # Numbers of more than 64 bits and halves of surrogate pairs.
        return json.dumps(values, ensure_ascii=False, default=_plain).encode("utf-8", "replace")
    except (TypeError, ValueError):
        wrong = next((name for name, value in values.items() if not _is_plain(value)), "?")
        raise DataError(
            f"column “{wrong}” holds what JSON cannot: {type(values.get(wrong)).__name__}",
            where=item.where,
            hint="leave the column out of the source",
        ) from None


def _plain(value: Any) -> Any:
    import datetime
    import decimal

    if isinstance(value, (datetime.date, datetime.time, decimal.Decimal)):
        return str(value)
    raise TypeError(type(value).__name__)


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value, default=_plain)
    except (TypeError, ValueError):
        return False
    return True


class ShardWriter(PipelineStep):
    """The last block of a stage: writes what comes out of it."""

    type, name = "writer", "shard"

    def __init__(self, folder: Path, work: str) -> None:
        super().__init__()
        self.folder, self.work = folder, work

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        path = Layout(self.folder).work(self.work, f"{shard_name(rank)}.parquet")
        rows: list[dict[str, Any]] = []
        size = 0
        with (
            Wheres(path) as wheres,
            whole(path) as temporary,
            pq.ParquetWriter(str(temporary), SCHEMA, compression="zstd") as writer,
        ):
            for item in data:
                record = packed(item)
                rows.append(
                    {"where": item.where, "source": item.source, "language": item.language, "record": record}
                )
                wheres.add(item.where)
                size += len(record)
                if len(rows) >= GROUP_ROWS or size >= GROUP_BYTES:
                    writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
                    rows, size = [], 0
                yield item
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA))


class Wheres:
    """Writes where the records of a shard came from beside it, so that one is found without the records."""

    def __init__(self, shard: Path) -> None:
        self._path = shard
        self._ends = array("Q", [0])

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        with ExitStack() as stack:
            temporary = stack.enter_context(whole(self._path.with_suffix(".where")))
            self._file = stack.enter_context(temporary.open("wb"))
            self._stack = stack.pop_all()
        return self

    def add(self, where: str) -> None:
        """The next record's."""
        data = where.encode("utf-8", "replace")
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)
        if error[0] is None:
            write_array(self._path.with_suffix(".ends.npy"), np.frombuffer(self._ends, np.uint64))


class ShardReader(PipelineStep):
    """The first block of a later stage."""

    type, name = "reader", "shard"

    def __init__(self, folder: Path, stage: str, work: str) -> None:
        super().__init__()
        self.folder, self.stage, self.work = folder, stage, work

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        layout = Layout(self.folder)
        kind = Plan.from_json(layout.plan.read_bytes()).kind
        path = layout.work(self.work, f"{shard_name(rank)}.parquet")
        with live.task(self.folder, self.stage, rank):
            yield from stored_items(path, kind)


def stored_items(path: Path, kind: str) -> Iterator[Item]:
    """The records of a shard, in the order in which they were written."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            for row in table.to_pylist():
                values = _loads(row["record"])
                yield Item(values, kind, row["source"], row["where"], row["language"])


def _loads(data: bytes) -> dict[str, Any]:
    try:
        values: dict[str, Any] = orjson.loads(data)
    except orjson.JSONDecodeError:
        values = json.loads(data)
    return values


class Lookup:
    """Single records of the shards of a stage, by shard and row: where they stand, and their text."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind
        self._wheres = lru_cache(maxsize=64)(self._open)
        self._group = lru_cache(maxsize=4)(self._read)

    def where(self, rank: int, row: int) -> str:
        """File and line of a record."""
        ends, data = self._wheres(rank)
        return bytes(data[int(ends[row]) : int(ends[row + 1])]).decode("utf-8")

    def _open(self, rank: int) -> tuple[Any, Any]:
        path = self.folder / shard_name(rank)
        return read_array(path.with_suffix(".ends.npy")), np.memmap(path.with_suffix(".where"), np.uint8, "r")

    def text(self, rank: int, row: int) -> str:
        """The text of a record, without any edit that came later."""
        values = _loads(self._row(rank, row)["record"])
        return joined(Item(values, self.kind).texts)

    def _row(self, rank: int, row: int) -> dict[str, Any]:
        with pq.ParquetFile(self.folder / f"{shard_name(rank)}.parquet") as file:
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                if row < count:
                    found: dict[str, Any] = self._group(rank, group)[row]
                    return found
                row -= count
        raise IndexError(row)

    def _read(self, rank: int, group: int) -> list[dict[str, Any]]:
        with pq.ParquetFile(self.folder / f"{shard_name(rank)}.parquet") as file:
            rows: list[dict[str, Any]] = file.read_row_group(group, columns=["record"]).to_pylist()
            return rows
