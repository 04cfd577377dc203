"""Which of many texts are nearest to one: by their words (BM25) or by their meaning (vectors)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from workbench.errors import ServerError
from workbench.inference.generation import Embedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AT_ONCE = 64
"""Texts to embed with one request."""

_WORD = re.compile(r"\w+")


class Ranking(Protocol):
    """Texts that can be ranked."""

    async def rank(self, query: str) -> list[tuple[int, float]]:
        """Every text's number and score, the nearest first; of equal ones the earlier first."""
        ...


class ByWords:
    """BM25 (Robertson & Zaragoza 2009) as in `bm25s`, over words in lower case."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    async def of(cls, texts: Sequence[str]) -> ByWords:
        """Index texts; a thread does it, so that an interface goes on."""
        return cls(await asyncio.to_thread(_indexed, texts))

    async def rank(self, query: str) -> list[tuple[int, float]]:
        """See `Ranking`."""
        return _ranked(self._index.get_scores_from_ids(self._index.get_tokens_ids(_words(query))))


class ByMeaning:
    """Cosine similarity of the vectors of an embedder."""

    def __init__(self, vectors: NDArray[np.float32], embedder: Embedder) -> None:
        self._vectors, self._embedder = vectors, embedder

    @classmethod
    async def of(cls, texts: Sequence[str], embedder: Embedder) -> ByMeaning:
        """Embed texts. Raises `ServerError`."""
        found: list[list[float]] = []
        for start in range(0, len(texts), AT_ONCE):
            found += await embedder.embed(texts[start : start + AT_ONCE])
        return cls(_unit_vectors(found, len(texts), embedder), embedder)

    async def rank(self, query: str) -> list[tuple[int, float]]:
        """See `Ranking`. Raises `ServerError`."""
        vector = _unit_vectors(await self._embedder.embed([query]), 1, self._embedder)
        if vector.shape[1] != self._vectors.shape[1]:
            raise ServerError("the vectors changed their length", where=self._embedder.name)
        return _ranked(self._vectors @ vector[0])


def _indexed(texts: Sequence[str]) -> Any:
    from bm25s import BM25

    index = BM25()
    index.index([_words(text) for text in texts], create_empty_token=False, show_progress=False)
    return index


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold()) or [""]


def _unit_vectors(found: Sequence[Sequence[float]], count: int, embedder: Embedder) -> NDArray[np.float32]:
    import numpy as np

    lengths = {len(vector) for vector in found}
    if len(found) != count or len(lengths) != 1:
        raise ServerError("not one vector for each text, all of one length", where=embedder.name)
    vectors = np.asarray(found, dtype=np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors


def _ranked(scores: NDArray[np.float32]) -> list[tuple[int, float]]:
    import numpy as np

    return [(int(number), float(scores[number])) for number in np.argsort(-scores, kind="stable")]
