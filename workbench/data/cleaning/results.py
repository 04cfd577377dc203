"""What comes out: shards of Parquet or JSON Lines, their columns those of the records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from workbench.data.cleaning.items import Item
from workbench.data.cleaning.layout import Layout, shard_name, whole
from workbench.data.cleaning.shards import packed
from workbench.errors import DataError
from workbench.recipe.cleaning import CleaningRecipe

GROUP_ROWS, GROUP_BYTES = 1000, 32 << 20


def columns_of(item: Item, recipe: CleaningRecipe, sources: list[str]) -> dict[str, Any]:
    """A record as it is written: as JSON would hold it, and the columns that were asked for."""
    values: dict[str, Any] = orjson.loads(packed(item))
    told = {"source": sources[item.source], "where": item.where, "language": item.language}
    return {**values, **{name: told[name] for name in recipe.output.add_columns}}


class SchemaCollector(PipelineStep):
    """Writes the types of the columns of a shard, so that all files of the result can have the same."""

    type, name = "collect", "columns"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        layout = Layout(self.folder)
        recipe = layout.cleaning.recipe()
        if recipe.output.format == "jsonl":
            yield from data
            return
        sources = [spec.path for spec in recipe.data.sources]
        schema, held = pa.schema([]), list[dict[str, Any]]()
        where = ""
        for item in data:
            held.append(_without_texts(columns_of(item, recipe, sources)))
            where = where or item.where
            if len(held) >= GROUP_ROWS:
                schema, held, where = _joined([schema, _inferred(held, where)], where), [], ""
            yield item
        schema = _joined([schema, _inferred(held, where)], where)
        with whole(layout.work("columns", f"{shard_name(rank)}.arrow")) as temporary:
            temporary.write_bytes(schema.serialize().to_pybytes())


def _without_texts(value: Any) -> Any:
    """The same shape with short strings: types are all that matters here."""
    if isinstance(value, str):
        return value[:1]
    if isinstance(value, dict):
        return {key: _without_texts(inner) for key, inner in value.items()}
    return [_without_texts(inner) for inner in value] if isinstance(value, list) else value


def _inferred(rows: list[dict[str, Any]], where: str) -> pa.Schema:
    names = list(dict.fromkeys(name for row in rows for name in row))
    try:
        return pa.table({name: [row.get(name) for row in rows] for name in names}).schema
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise _mixed(str(error), where) from None


def _joined(schemas: list[pa.Schema], where: str) -> pa.Schema:
    try:
        return pa.unify_schemas(schemas, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise _mixed(str(error), where) from None


def _mixed(why: str, where: str) -> DataError:
    return DataError(
        f"the records have no common columns for Parquet: {why.splitlines()[0]}",
        where=where,
        hint="output.format=jsonl takes records of any shape",
    )


def common_schema(folder: Path) -> pa.Schema:
    """The columns of all shards. Raises `DataError` where two cannot be one."""
    parts = [pa.ipc.read_schema(pa.py_buffer(path.read_bytes())) for path in sorted(folder.glob("*.arrow"))]
    schema = _joined(parts, str(folder))
    # A column that was null everywhere has no type of its own; text is what such columns turn out to be.
    return pa.schema([pa.field(f.name, pa.string() if pa.types.is_null(f.type) else f.type) for f in schema])


class ResultWriter(PipelineStep):
    """Writes the records of a shard as the recipe says; a shard without any leaves no file."""

    type, name = "writer", "result"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        layout = Layout(self.folder)
        recipe = layout.cleaning.recipe()
        sources = [spec.path for spec in recipe.data.sources]
        rows = (columns_of(item, recipe, sources) for item in data)
        path = layout.work("result", f"{shard_name(rank)}.{recipe.output.format}")
        first = next(rows, None)
        if first is None:
            return
        write = _write_lines if recipe.output.format == "jsonl" else self._write_parquet
        with whole(path) as temporary:
            write(temporary, _with(first, rows))
        yield from ()

    def _write_parquet(self, path: Path, rows: Iterator[dict[str, Any]]) -> None:
        schema = common_schema(Layout(self.folder).work("columns"))
        with pq.ParquetWriter(str(path), schema, compression="zstd", write_page_index=True) as writer:
            held: list[dict[str, Any]] = []
            size = 0
            for row in rows:
                held.append(row)
                size += sum(len(value) for value in row.values() if isinstance(value, str)) + 512
                if len(held) >= GROUP_ROWS or size >= GROUP_BYTES:
                    writer.write_table(pa.Table.from_pylist(held, schema))
                    held, size = [], 0
            writer.write_table(pa.Table.from_pylist(held, schema))


def _write_lines(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("wb") as file:
        for row in rows:
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def _with(first: dict[str, Any], rest: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield first
    yield from rest
