"""Giving the passages of a collection their vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from workbench.inference.generation import Embedder
from workbench.prompting.retrieval import staging
from workbench.prompting.retrieval.blocking import to_the_end
from workbench.prompting.retrieval.record import Record
from workbench.prompting.retrieval.vectors import VectorStore, unit_vectors, vector_key

BATCH = 64
"""Passages embedded by one request: enough to keep a server busy, few enough to lose when it is cut off."""


async def embed_missing(
    path: Path,
    record: Record,
    chunks: Sequence[staging.StoredChunk],
    embedder: Embedder,
    store: VectorStore,
    progress: Callable[[int, int], None],
) -> tuple[list[str], int]:
    """See to it that every passage has a vector; the keys of all vectors, and how many were made.

    The first vector ever sets the dimension in `record`. Each batch is kept as it comes, for an ingest that
    goes on later. Raises `ServerError`.
    """
    prefix = record.options.passage_prefix
    wanted = {vector_key(embedder.name, prefix, chunk.key): chunk.id for chunk in chunks}
    known = await to_the_end(store.known, wanted)
    missing = [(key, chunk) for key, chunk in wanted.items() if key not in known]
    for start in range(0, len(missing), BATCH):
        progress(start, len(missing))
        batch = missing[start : start + BATCH]
        texts = await to_the_end(staging.texts_of, path, [chunk for _, chunk in batch])
        embedded = await embedder.embed([prefix + text for text in texts])
        vectors = unit_vectors(embedded, len(batch), record.dimension, embedder.name)
        record.dimension = vectors.shape[1]
        await to_the_end(store.add, {key: vectors[row] for row, (key, _) in enumerate(batch)})
    if missing:
        progress(len(missing), len(missing))
    record.embedder = embedder.name
    return list(wanted), len(missing)
