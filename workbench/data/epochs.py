"""Which documents an epoch holds and in which order: a function of seed and epoch alone."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
ORDER, DRAW, ROWS = 0, 1, 2
"""What a permutation is for, so that no two are alike."""


def permutation(count: int, *entropy: int) -> Indices:
    """A permutation of 0…count-1 by `entropy`.

    Made from raw PCG64 output, which NumPy keeps the same for ever; its higher-level methods it may change.
    """
    bits = np.random.PCG64(np.random.SeedSequence(entropy))
    return np.argsort(bits.random_raw(count), kind="stable").astype(np.int64)


class Epochs:
    """Mixes the documents of several sources by weight.

    A source's documents stand in an endless sequence: one shuffled pass over all of them after another.
    An epoch takes the next `weight` passes of it, so weight 2 means twice an epoch, and weight 0.5 every
    other document, then the rest of them, before any comes again.
    """

    def __init__(
        self, sources: NDArray[np.uint16], weights: Sequence[float], seed: int, shuffle: bool
    ) -> None:
        self._members: list[Indices] = [
            np.flatnonzero(np.asarray(sources) == source).astype(np.int64) for source in range(len(weights))
        ]
        self._weights = [Fraction(str(weight)) for weight in weights]
        self._seed, self._shuffle = seed, shuffle
        self.all_alike = all(weight.denominator == 1 for weight in self._weights)
        """Whether each epoch holds the same documents, in whatever order."""
        self._left_out: list[tuple[int, Indices]] = []

    def leave_out(self, documents: Sequence[int], epoch: int) -> bool:
        """From `epoch` on, have these no more. Where that would take more than half of all, nothing is done,
        and the answer is False."""
        given = np.unique(np.asarray(documents, np.int64))
        gone = np.unique(np.concatenate([given, *(known for _, known in self._left_out)]))
        if not len(given) or 2 * len(gone) > sum(map(len, self._members)):
            return False
        self._left_out.append((epoch, given))
        self.all_alike = False
        return True

    def documents(self, epoch: int) -> Indices:
        """The documents of an epoch, in their order; one of weight 2 stands there twice."""
        found = self._all(epoch)
        for first, gone in self._left_out:
            if epoch >= first:
                found = found[~np.isin(found, gone)]
        return found

    def _all(self, epoch: int) -> Indices:
        parts: list[Indices] = []
        passes: list[Indices] = []
        for source, (members, weight) in enumerate(zip(self._members, self._weights, strict=True)):
            for place, part in enumerate(self._passes(source, members, weight, epoch)):
                parts.append(part)
                passes.append(np.full(len(part), place, np.int64))
        documents = np.concatenate(parts) if parts else np.empty(0, np.int64)
        if self._shuffle:
            return documents[permutation(len(documents), self._seed, ORDER, epoch)]
        return documents[np.lexsort((documents, np.concatenate(passes)))] if parts else documents

    def _passes(self, source: int, members: Indices, weight: Fraction, epoch: int) -> list[Indices]:
        """What an epoch takes of each pass over a source."""
        count = len(members)
        if not count:
            return []
        start, end = floor(epoch * weight * count), floor((epoch + 1) * weight * count)
        taken: list[Indices] = []
        while start < end:
            number, first = divmod(start, count)
            last = min(count, first + end - start)
            if last - first == count:
                taken.append(members)
            else:
                order = permutation(count, self._seed, DRAW, source, number)
                taken.append(np.sort(members[order[first:last]]))
            start += last - first
        return taken
