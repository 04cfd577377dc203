"""Figures of a corpus in little memory, that add up over shards."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from workbench.data.cleaning.words import Hashes

SIZE = 4096
"""Smallest hashes that are kept: the number of distinct ones is known to 1/√4096 = 1.6 %."""


class Distinct:
    """How many different hashes were seen: the k smallest say (Bar-Yossef et al. 2002); exact below k."""

    def __init__(self, kept: Hashes | None = None) -> None:
        self.kept: Hashes = np.zeros(0, np.uint64) if kept is None else kept
        self._held: list[Hashes] = []
        self._size = 0

    def add(self, hashes: Hashes) -> None:
        """More hashes, each as often as one likes."""
        if len(self.kept) == SIZE:
            hashes = hashes[hashes < self.kept[-1]]
        self._held.append(hashes)
        self._size += len(hashes)
        if self._size > 4 * SIZE:
            self._settle()

    def _settle(self) -> None:
        if self._held:
            self.kept = np.unique(np.concatenate([self.kept, *self._held]))[:SIZE]
        self._held, self._size = [], 0

    def values(self) -> list[int]:
        """What another sketch takes over."""
        self._settle()
        found: list[int] = self.kept.tolist()
        return found

    def estimate(self) -> int:
        """The number of different hashes."""
        self._settle()
        if len(self.kept) < SIZE:
            return len(self.kept)
        return round((SIZE - 1) / (float(self.kept[-1]) / 2.0**64))


class Frequent:
    """Counts of words in bounded memory: when there are too many, those seen least give way."""

    def __init__(self, most: int = 200_000) -> None:
        self.counts: Counter[str] = Counter()
        self.most = most

    def add(self, words: Any) -> None:
        """Count words, or add counts."""
        self.counts.update(words)
        if len(self.counts) > self.most:
            best = sorted(self.counts.items(), key=lambda entry: (-entry[1], entry[0]))[: self.most // 2]
            self.counts = Counter(dict(best))


EDGES = [
    0,
    16,
    32,
    64,
    128,
    256,
    512,
    1024,
    2048,
    4096,
    8192,
    16384,
    32768,
    65536,
    131072,
    262144,
    1 << 20,
    1 << 62,
]
"""Bounds of the histogram of lengths, in words."""


def length_bin(words: int) -> int:
    """The bin of a length."""
    return int(np.searchsorted(EDGES, words, side="right")) - 1
