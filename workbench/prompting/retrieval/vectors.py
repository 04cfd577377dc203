"""Vectors of passages, found again by their nearness to the vector of a query.

A vector is kept under the key of the text that it stands for, so that a text which moves, or stands in two
files, is embedded once. All vectors are scaled to length one: a score is the cosine of the angle.

The vectors lie in the collection's own file and are compared one by one, which is exact: 100,000 of 384
numbers take 20 ms on one core. The local folders of qdrant-client are no choice for that: they hold pickles,
which run code when they are read, admit one process at a time, and take 24 s to write 5,000 vectors that are
written here in 1 s. Where one file is not enough there is a Qdrant server: `qdrant`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from workbench.errors import DataError, ServerError
from workbench.prompting.retrieval import database

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

NearKeys = list[tuple[str, float]]
"""Keys with their scores, best first; equal scores in order of keys."""


class NearestIndex(Protocol):
    """Finds the nearest of a fixed set of keys."""

    def nearest(self, query: Array, limit: int) -> NearKeys:
        """The keys whose vectors are nearest to `query`, which has length one."""
        ...


class VectorStore(Protocol):
    """Keeps vectors under keys. Its methods block; they raise `ServerError` or `StorageError`."""

    def known(self, keys: Collection[str]) -> set[str]:
        """Which of the keys have a vector."""
        ...

    def add(self, vectors: Mapping[str, Array]) -> None:
        """Keep vectors, all of one length, for good."""
        ...

    def retain(self, keys: Collection[str]) -> None:
        """Forget the vectors of all other keys."""
        ...

    def index(self, keys: Collection[str]) -> NearestIndex:
        """For searching among these keys alone."""
        ...

    def drop(self) -> None:
        """Forget everything."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def text_key(text: str) -> str:
    """The key of a text: its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()


def vector_key(embedder: str, prefix: str, key: str) -> str:
    """The key, written as a UUID, of the vector that an embedder gives the text with this key."""
    digest = text_key(f"{embedder}\0{prefix}\0{key}")
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))


def unit_vectors(vectors: Sequence[Sequence[float]], count: int, dimension: int, embedder: str) -> Array:
    """Checked vectors as an array (count, dimension) of rows of length one; 0 as `dimension` is any.

    Raises `ServerError` when there are too few, or they are of different or wrong lengths, or not finite.
    """
    import numpy as np

    lengths = {len(vector) for vector in vectors}
    if len(vectors) != count or len(lengths) != 1 or 0 in lengths:
        raise ServerError(
            f"{count} texts were sent to be embedded, and {len(vectors)} vectors of "
            f"{' and '.join(map(str, sorted(lengths))) or 'no'} numbers came back",
            where=embedder,
        )
    array = np.asarray(vectors, dtype=np.float32)
    if dimension and array.shape[1] != dimension:
        raise ServerError(
            f"its vectors have {array.shape[1]} numbers, those of the collection {dimension}",
            where=embedder,
            hint="is it still the same model? If not, remove the collection and ingest again",
        )
    if not np.isfinite(array).all():
        raise ServerError("it gave vectors with numbers that are not finite", where=embedder)
    norms = np.linalg.norm(array, axis=1, keepdims=True)
    unit: Array = (array / np.where(norms > 0, norms, 1)).astype(np.float32)
    return unit


class LocalVectors:
    """Vectors in a collection's own file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def known(self, keys: Collection[str]) -> set[str]:
        with database.snapshot(self._path) as connection:
            return {row[0] for row in connection.execute("SELECT key FROM vectors")}.intersection(keys)

    def add(self, vectors: Mapping[str, Array]) -> None:
        rows = [(key, vector.astype("<f4").tobytes()) for key, vector in vectors.items()]
        with database.transaction(self._path) as connection:
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    def retain(self, keys: Collection[str]) -> None:
        with database.transaction(self._path) as connection:
            have = {row[0] for row in connection.execute("SELECT key FROM vectors")}
            others = [(key,) for key in have.difference(keys)]
            connection.executemany("DELETE FROM vectors WHERE key = ?", others)

    def index(self, keys: Collection[str]) -> NearestIndex:
        import numpy as np

        wanted = set(keys)
        with database.snapshot(self._path) as connection:
            rows = connection.execute("SELECT key, vector FROM vectors ORDER BY key")
            found = [(key, vector) for key, vector in rows if key in wanted]
        if len({len(vector) for _, vector in found}) > 1:
            raise DataError(
                "the vectors have different lengths", where=str(self._path), hint="remove it and ingest again"
            )
        matrix = np.frombuffer(b"".join(vector for _, vector in found), dtype="<f4")
        return _Matrix([key for key, _ in found], matrix.reshape(len(found), -1) if found else matrix)

    def drop(self) -> None:
        self.retain(())

    def close(self) -> None:
        """Nothing is held open."""


class _Matrix:
    def __init__(self, keys: list[str], matrix: Array) -> None:
        self._keys, self._matrix = keys, matrix

    def nearest(self, query: Array, limit: int) -> NearKeys:
        import numpy as np

        if not self._keys:
            return []
        scores = self._matrix @ query
        rows = np.arange(len(scores))
        if len(scores) > limit:
            rows = np.flatnonzero(scores >= np.partition(scores, -limit)[-limit])
        best = rows[np.lexsort((rows, -scores[rows]))][:limit]
        return [(self._keys[row], float(scores[row])) for row in best]
