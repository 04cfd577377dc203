"""Exact Jaccard of candidates, and which of the copies stays."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from workbench.data.cleaning.copies.places import Places
from workbench.data.cleaning.copies.runs import slices
from workbench.data.cleaning.layout import read_array, shard_name, write_array
from workbench.data.cleaning.words import Hashes, jaccard
from workbench.recipe.cleaning.content import NearDuplicatesStep

EDGE = np.dtype([("later", "<u8"), ("earlier", "<u8"), ("similarity", "<f8")])
PIECE = 1 << 16
"""Pairs that are compared in one go."""
OPEN_FILES = 64


class ShingleSets:
    """The shingles of any record, out of the files of the collecting tasks.

    They are read and not mapped: what is mapped counts as this process's memory until something else needs
    it, and that would be all shingles of the corpus. Files are closed when the block is left.
    """

    def __init__(self, folder: Path, places: Places) -> None:
        self.folder, self.places = folder, places
        self._open: OrderedDict[int, tuple[Any, int]] = OrderedDict()

    def __enter__(self) -> ShingleSets:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._close_oldest()

    def _close_oldest(self) -> None:
        _, (_, descriptor) = self._open.popitem(last=False)
        os.close(descriptor)

    def _shard(self, shard: int) -> tuple[Any, int]:
        """Where the sets of a shard end, and its file."""
        if shard not in self._open:
            if len(self._open) == OPEN_FILES:
                self._close_oldest()
            name = shard_name(shard)
            ends = read_array(self.folder / f"{name}.ends.npy")
            self._open[shard] = ends, os.open(self.folder / f"{name}.shingles", os.O_RDONLY)
        self._open.move_to_end(shard)
        return self._open[shard]

    def of(self, number: int) -> Hashes:
        """The sorted hashes of the shingles of a record."""
        shard = int(self.places.shard_of(np.uint64(number)))
        row = number - int(self.places.first[shard])
        ends, descriptor = self._shard(shard)
        begin, end = int(ends[row]), int(ends[row + 1])
        return np.frombuffer(os.pread(descriptor, (end - begin) * 8, begin * 8), np.uint64)


class Verifier(PipelineStep):
    """Computes the similarity of the candidates whose later record is in one shard; keeps those that are
    copies."""

    type, name = "verify", "candidates"

    def __init__(
        self,
        folder: Path,
        pairs: Path,
        output: Path,
        settings: NearDuplicatesStep,
        shards: int,
        most: int,
    ) -> None:
        super().__init__()
        self.folder, self.pairs, self.output, self.settings = folder, pairs, output, settings
        self.shards, self.most = shards, most

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        places = Places.of(self.folder, self.shards)
        low, high = int(places.first[rank]), int(places.first[rank + 1])
        checked = 0
        paths = sorted(self.pairs.glob("*.npy"))
        with ShingleSets(self.folder, places) as sets:
            for number, pairs in enumerate(slices(paths, low, high, self.most)):
                checked += len(pairs)
                # A list takes ten times what the array does, so a piece at a time.
                parts = [self._verified(pairs[at : at + PIECE], sets) for at in range(0, len(pairs), PIECE)]
                write_array(edges_path(self.output, rank, number), np.concatenate(parts))
        self.stat_update("checked", value=checked)
        yield from ()

    def _verified(self, pairs: Any, sets: ShingleSets) -> Any:
        found: list[tuple[int, int, float]] = []
        last, shingles = -1, np.zeros(0, np.uint64)
        for later, earlier in pairs.tolist():
            if later != last:
                last, shingles = later, sets.of(later)
            similarity = self._similarity(shingles, sets.of(earlier))
            if similarity >= self.settings.threshold:
                found.append((later, earlier, similarity))
        return np.array(found, EDGE)

    def _similarity(self, one: Hashes, other: Hashes) -> float:
        # Sets of too different a size cannot be similar enough: |A∩B|/|A∪B| ≤ min/max.
        small, large = sorted((len(one), len(other)))
        return jaccard(one, other) if large and small / large >= self.settings.threshold else 0.0


def edges_path(folder: Path, rank: int, number: int) -> Path:
    """A file of the edges of a shard; they are in the order of their later records, over all files too."""
    return folder / f"{shard_name(rank)}.{number:05d}.npy"


def survivors(folder: Path, places: Places) -> Iterator[tuple[Any, Any, Any]]:
    """Which records of each shard go, in order, and for each the record that stays and their similarity.

    In the order of the corpus a record goes if it is a copy of an earlier one that stays, so that every one
    that goes has its like in the result, at the threshold or above: chains of ever less similar records do
    not drag each other along. A bit for each record of the corpus is held, and one file of edges.
    """
    dropped = Bits(places.total)
    for shard in range(len(places.first) - 1):
        number = 0
        found = [np.zeros(0, EDGE)]
        while (path := edges_path(folder, shard, number)).exists():
            found.append(_gone(np.array(read_array(path)), dropped))
            number += 1
        every = np.concatenate(found)
        yield every["later"], every["earlier"], every["similarity"]


def _gone(edges: Any, dropped: Bits) -> Any:
    """The edges by which records go, one a record."""
    found: list[tuple[int, int, float]] = []
    begin = 0
    while begin < len(edges):
        later = edges["later"][begin]
        end = int(np.searchsorted(edges["later"], later, side="right"))
        alive = [edge for edge in edges[begin:end].tolist() if edge[1] not in dropped]
        if alive:
            found.append(max(alive, key=lambda edge: (edge[2], -edge[1])))
            dropped.add(int(later))
        begin = end
    return np.array(found, EDGE)


class Bits:
    """A set of numbers below a bound, a bit each."""

    def __init__(self, count: int) -> None:
        self._bytes = bytearray((count >> 3) + 1)

    def add(self, number: int) -> None:
        self._bytes[number >> 3] |= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        return bool(self._bytes[number >> 3] >> (number & 7) & 1)
