"""One generation of a collection, opened for searching."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import DataError, storage_error
from workbench.prompting.retrieval import database, folders
from workbench.prompting.retrieval.fusion import Fused
from workbench.prompting.retrieval.lexical import LexicalIndex
from workbench.prompting.retrieval.passage import Passage
from workbench.prompting.retrieval.record import Record
from workbench.prompting.retrieval.vectors import NearestIndex, VectorStore, vector_key
from workbench.store.files import sync_folder

if TYPE_CHECKING:
    from workbench.prompting.retrieval.vectors import Array

CHUNKS = "chunks.json"
"""Beside the arrays of BM25: the ids of the passages that its rows stand for."""


@dataclass
class Index:
    """Rows are numbered from 0 in order of documents and of the passages in them; `chunks` are their ids.

    `keys` maps the key of a vector to the rows whose text it stands for; `dense` is None where vectors
    play no part.
    """

    record: Record
    chunks: Sequence[int]
    lexical: LexicalIndex
    dense: NearestIndex | None
    keys: dict[str, list[int]]

    def search_words(self, query: str, limit: int) -> list[tuple[int, float]]:
        """Rows by BM25."""
        return self.lexical.search(query, limit)

    def search_vector(self, query: Array, limit: int) -> list[tuple[int, float]]:
        """Rows by the nearness of their vectors to one of length one."""
        assert self.dense is not None
        hits = self.dense.nearest(query, limit)
        return [(row, score) for key, score in hits for row in self.keys[key]][:limit]


def lexical_folder(name: str, generation: int) -> Path:
    """Where the word index of a generation is."""
    return folders.folder_of(name) / f"bm25-{generation}"


def write_lexical(name: str, generation: int, chunks: Sequence[int], texts: Iterable[str]) -> None:
    """Write the word index of a generation that nobody opens before it is committed."""
    folder = lexical_folder(name, generation)
    unfinished = folder.with_name(f".{folder.name}.tmp")
    try:
        for leftover in (unfinished, folder):
            shutil.rmtree(leftover, ignore_errors=True)
        LexicalIndex.build(texts).save(unfinished)
        (unfinished / CHUNKS).write_text(json.dumps(list(chunks)))
        for path in unfinished.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        unfinished.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise storage_error(error, folder) from None


def remove_other_generations(name: str, generation: int) -> None:
    """Remove the word indexes of all generations but one."""
    kept = lexical_folder(name, generation)
    for folder in kept.parent.glob("*bm25-*"):
        if folder != kept:
            shutil.rmtree(folder, ignore_errors=True)


def current_record(name: str) -> Record:
    """The record of a collection that has been ingested at least once. Raises `DataError`."""
    record = folders.describe(name)
    if record.generation == 0:
        raise folders.unfinished(name)
    return record


def open_index(name: str, store: VectorStore | None) -> Index:
    """The current generation; with vectors when their store is given. Raises `DataError`."""
    while True:
        record = current_record(name)
        folder = lexical_folder(name, record.generation)
        try:
            chunks = json.loads((folder / CHUNKS).read_text())
            lexical = LexicalIndex.load(folder)
            break
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            # An ingest may have ended in between and removed what the record spoke of.
            if current_record(name).generation == record.generation:
                raise DataError(
                    f"the word index of “{name}” is damaged: {error}",
                    where=str(folder),
                    hint="remove the collection and ingest again",
                ) from None
    keys = _vector_keys(name, record, chunks) if store is not None else {}
    dense = store.index(keys) if store is not None else None
    return Index(record, chunks, lexical, dense, keys)


def _vector_keys(name: str, record: Record, chunks: Sequence[int]) -> dict[str, list[int]]:
    with database.snapshot(folders.folder_of(name) / folders.DATABASE) as connection:
        text_keys = dict(connection.execute("SELECT id, key FROM chunks").fetchall())
    keys: dict[str, list[int]] = {}
    for row, chunk in enumerate(chunks):
        # A passage that an ingest has just removed is found by no vector; the next search sees the new state.
        if chunk in text_keys:
            key = vector_key(record.embedder, record.options.passage_prefix, text_keys[chunk])
            keys.setdefault(key, []).append(row)
    return keys


def read_passages(connection: sqlite3.Connection, index: Index, found: Sequence[Fused]) -> list[Passage]:
    """The passages of the rows that were found, in their order; of equal texts the first alone."""
    ids = [index.chunks[hit.item] for hit in found]
    rows = connection.execute(
        "SELECT chunks.*, documents.path, documents.name, documents.title, documents.unit "
        "FROM chunks JOIN documents ON documents.id = chunks.document "
        "WHERE chunks.id IN (SELECT value FROM json_each(?))",
        (json.dumps(ids),),
    )
    by_id = {row["id"]: row for row in rows}
    passages: dict[str, Passage] = {}
    for chunk, hit in zip(ids, found, strict=True):
        passages.setdefault(by_id[chunk]["text"], _passage(by_id[chunk], hit))
    return list(passages.values())


def _passage(row: sqlite3.Row, hit: Fused) -> Passage:
    return Passage(
        path=row["path"],
        name=row["name"],
        document=row["title"],
        text=row["text"],
        start=row["start_offset"],
        end=row["end_offset"],
        unit=row["unit"],
        first=row["first"],
        last=row["last"],
        headings=tuple(json.loads(row["headings"])),
        score=hit.score,
        ranks=hit.ranks,
        scores=hit.scores,
    )
