"""Searching by words: BM25 (Robertson et al. 1994, in Lucene's form), with bm25s."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.prompting.retrieval.words import words

if TYPE_CHECKING:
    from bm25s import BM25

Hits = list[tuple[int, float]]
"""Row numbers with their scores, best first; equal scores in order of rows."""


class LexicalIndex:
    """Scores of texts numbered from 0. On disk it is arrays and JSON, nothing that runs when it is read."""

    def __init__(self, scorer: BM25) -> None:
        self._scorer = scorer

    @classmethod
    def build(cls, texts: Iterable[str]) -> LexicalIndex:
        """An index over at least one text."""
        from bm25s import BM25

        vocabulary: dict[str, int] = {"": 0}
        # A text without a word holds the empty one, so that it keeps its row and a mean length exists.
        rows = [
            [vocabulary.setdefault(word, len(vocabulary)) for word in words(text) or [""]] for text in texts
        ]
        scorer = BM25(method="lucene")
        scorer.index((rows, vocabulary), show_progress=False)
        return cls(scorer)

    def save(self, folder: Path) -> None:
        """Write it into a folder, which is made."""
        self._scorer.save(folder, allow_pickle=False, show_progress=False)

    @classmethod
    def load(cls, folder: Path) -> LexicalIndex:
        """Read it back, the arrays mapped rather than copied. Raises `OSError` or `ValueError`."""
        from bm25s import BM25

        return cls(BM25.load(folder, mmap=True, allow_pickle=False, show_progress=False))

    def search(self, query: str, limit: int) -> Hits:
        """The texts that share words with the query. Stop words count only in a query of nothing else."""
        import numpy as np
        from bm25s.stopwords import STOPWORDS_EN_PLUS

        asked = list(dict.fromkeys(words(query)))
        telling = [word for word in asked if word not in STOPWORDS_EN_PLUS] or asked
        numbers = self._scorer.get_tokens_ids(telling)
        if not numbers:
            return []
        scores = self._scorer.get_scores_from_ids(numbers)
        rows = np.flatnonzero(scores > 0)
        if len(rows) > limit:
            # All that tie with the last one stay, so that the order below decides which of them are left.
            least = np.partition(scores, -limit)[-limit]
            rows = np.flatnonzero(scores >= max(least, np.finfo(scores.dtype).tiny))
        best = rows[np.lexsort((rows, -scores[rows]))][:limit]
        return [(int(row), float(scores[row])) for row in best]
