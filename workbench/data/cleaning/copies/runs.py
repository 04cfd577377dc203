"""Pairs of records on disk: sorted runs of a bounded size, and what of them is about a range of records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from workbench.data.cleaning.layout import read_array, shard_name, write_array

PAIR = np.dtype([("later", "<u8"), ("earlier", "<u8")])
SORTING = 80
"""Bytes that a pair takes while it is sorted: itself, gathered, its keys, the order, and the result."""


def most_pairs(memory: int) -> int:
    """How many pairs may be held where so many bytes may: half of them, for whoever makes them needs some."""
    return max(1024, memory // (2 * SORTING))


def once(pairs: Any) -> Any:
    """Pairs sorted by their later and then their earlier record, each once."""
    order = np.lexsort((pairs["earlier"], pairs["later"]))
    found = pairs[order]
    new = np.ones(len(found), bool)
    new[1:] = found[1:] != found[:-1]
    return found[new]


class Runs:
    """Takes pairs in any order, and writes them as sorted files of at most `most` each.

    The same pair may be in several: `slices` takes them together.
    """

    def __init__(self, folder: Path, rank: int, most: int) -> None:
        self.folder, self.name, self.most = folder, shard_name(rank), most
        self._held: list[Any] = []
        self._count = self._written = 0

    def add(self, pairs: Any) -> None:
        """Some pairs more."""
        self._held.append(pairs)
        self._count += len(pairs)
        if self._count >= self.most:
            self.close()

    def close(self) -> None:
        """Write what is held."""
        if self._count:
            path = self.folder / f"{self.name}.{self._written:05d}.npy"
            write_array(path, once(np.concatenate(self._held)))
            self._written += 1
        self._held, self._count = [], 0


def within(path: Path, key: str, low: int, high: int) -> Any:
    """The rows of a sorted array on disk whose `key` is in [low, high)."""
    every: Any = read_array(path)
    # Of the same type as the key: numpy would turn all of it into floats else.
    first, last = np.searchsorted(every[key], np.array([low, high], np.uint64))
    return every[first:last]


def slices(paths: list[Path], low: int, high: int, most: int) -> Iterator[Any]:
    """The pairs whose later record is in [low, high), in order, each once, at most `most` at a time (but
    always all of one record)."""
    waiting = [(low, high)]
    while waiting:
        begin, end = waiting.pop()
        # One file open at a time: there may be thousands.
        counts = [len(within(path, "later", begin, end)) for path in paths]
        if not any(counts):
            continue
        if sum(counts) > most and end - begin > 1:
            middle = (begin + end) // 2
            waiting += [(middle, end), (begin, middle)]
            continue
        # Copies, or all files would stay open until they are put together.
        some = [path for path, count in zip(paths, counts, strict=True) if count]
        yield once(np.concatenate([np.array(within(path, "later", begin, end)) for path in some]))
