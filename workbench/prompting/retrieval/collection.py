"""Searching a collection: by words and by vectors, the two rankings fused."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING

from workbench.errors import DataError
from workbench.inference.generation import Embedder
from workbench.prompting.retrieval import database, folders
from workbench.prompting.retrieval.fusion import reciprocal_rank_fusion
from workbench.prompting.retrieval.index import Index, current_record, open_index, read_passages
from workbench.prompting.retrieval.passage import Passage
from workbench.prompting.retrieval.record import Record
from workbench.prompting.retrieval.vectors import VectorStore, unit_vectors

if TYPE_CHECKING:
    from workbench.prompting.retrieval.vectors import Array

LEXICAL, DENSE = "bm25", "dense"
LEAST_DEPTH = 50
"""How far down each ranking the fusion looks at least; four times the passages asked for, if that is more."""


class Collection:
    """A collection opened for searching, by any number of tasks at once; an ingest shows in the next search.

    Without `embedder`, or without vectors in the collection, words alone decide, and `without_dense` says so.
    """

    def __init__(self, name: str, embedder: Embedder | None = None) -> None:
        """Raises `DataError` if there is no such collection, or another embedder made its vectors."""
        self.name = name
        self.embedder = embedder
        self.record = current_record(name)
        self._refuse_other_embedder(self.record)
        self._database = folders.folder_of(name) / folders.DATABASE
        self._loading = threading.Lock()
        self._index: Index | None = None
        self._store: VectorStore | None = None

    def _refuse_other_embedder(self, record: Record) -> None:
        if self.embedder is not None and record.embedder not in ("", self.embedder.name):
            raise DataError(
                f"the collection “{self.name}” was embedded by {record.embedder}, "
                f"and the vectors of {self.embedder.name} have nothing to do with those",
                where=str(folders.folder_of(self.name)),
                hint=f"search it with {record.embedder}, or remove it and ingest again",
            )

    @property
    def without_dense(self) -> str:
        """Why vectors play no part, empty where they do."""
        if not self.record.embedder:
            return "the collection was ingested without an embedding model: words alone decide"
        if self.embedder is None:
            return f"the embedding model {self.record.embedder} is not at hand: words alone decide"
        return ""

    @property
    def retrievers(self) -> tuple[str, ...]:
        """What ranks the passages."""
        return (LEXICAL,) if self.without_dense else (LEXICAL, DENSE)

    async def search(self, query: str, k: int = 5) -> list[Passage]:
        """The best `k` passages for a query, best first; fewer or none when words alone decide and few match.

        Raises `ServerError` when the embedder or the vectors' server cannot be asked, `DataError`.
        """
        if not query.strip() or k < 1:
            return []
        index = await asyncio.to_thread(self._current)
        vector = None
        if index.dense is not None and self.embedder is not None:
            text = index.record.options.query_prefix + query
            embedded = await self.embedder.embed([text])
            vector = unit_vectors(embedded, 1, index.record.dimension, self.embedder.name)[0]
        return await asyncio.to_thread(self._find, index, query, vector, k)

    def _current(self) -> Index:
        """The index of the newest generation, loaded if it is not yet."""
        with self._loading:
            record = current_record(self.name)
            if self._index is not None and self._index.record == record:
                return self._index
            self._refuse_other_embedder(record)
            if self._store is not None and record.identity != self.record.identity:
                self._store.close()
                self._store = None
            self.record = record
            if self._store is None and DENSE in self.retrievers:
                self._store = folders.vector_store(self.name, record)
            self._index = open_index(self.name, self._store)
            return self._index

    def _find(self, index: Index, query: str, vector: Array | None, k: int) -> list[Passage]:
        depth = max(LEAST_DEPTH, 4 * k)
        while True:
            rankings = {LEXICAL: index.search_words(query, depth)}
            if vector is not None and index.dense is not None:
                rankings[DENSE] = index.search_vector(vector, depth)
            found = reciprocal_rank_fusion(rankings, depth)
            with database.snapshot(self._database) as connection:
                record = Record.read(connection, self._database)
                if record == index.record:
                    return read_passages(connection, index, found)[:k]
            # An ingest ended in between, and the rows found may be gone.
            index = self._current()

    def document_text(self, path: str) -> str:
        """The whole text of a document, which the offsets of passages count in. Raises `DataError`."""
        with database.snapshot(self._database) as connection:
            query = "SELECT text FROM documents WHERE path = ? AND live = 1"
            row = connection.execute(query, (path,)).fetchone()
        if row is None:
            raise DataError("the collection holds no such document", where=path)
        text: str = row[0]
        return text

    def documents(self) -> list[dict[str, object]]:
        """What is in it: `path`, `name`, `title`, `chunks` (their number) and `notes`, in order of paths."""
        query = (
            "SELECT path, name, title, notes, "
            "(SELECT count(*) FROM chunks WHERE document = documents.id) AS chunks "
            "FROM documents WHERE live = 1 ORDER BY path"
        )
        with database.snapshot(self._database) as connection:
            return [{**dict(row), "notes": json.loads(row["notes"])} for row in connection.execute(query)]

    def close(self) -> None:
        """Let go of what is loaded and connected; a later search loads it again."""
        with self._loading:
            if self._store is not None:
                self._store.close()
            self._index = self._store = None


def open_collection(name: str, embedder: Embedder | None = None) -> Collection:
    """A collection for searching. Raises `DataError` if there is none, or another embedder made it."""
    return Collection(name, embedder)
