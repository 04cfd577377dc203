"""Exact Jaccard of candidates, and which of the copies stays."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from workbench.data.cleaning.copies.places import Places
from workbench.data.cleaning.layout import read_array, shard_name, write_array
from workbench.data.cleaning.words import Hashes, jaccard
from workbench.recipe.cleaning.content import NearDuplicatesStep

EDGE = np.dtype([("later", "<u8"), ("earlier", "<u8"), ("similarity", "<f8")])


class ShingleSets:
    """The shingles of any record, mapped from the files of the collecting tasks."""

    def __init__(self, folder: Path, places: Places) -> None:
        self.folder, self.places = folder, places
        self._shard = lru_cache(maxsize=64)(self._open)

    def _open(self, shard: int) -> tuple[Any, Any]:
        name = shard_name(shard)
        ends = read_array(self.folder / f"{name}.ends.npy")
        path = self.folder / f"{name}.shingles"
        sets = np.memmap(path, np.uint64, "r") if path.stat().st_size else np.zeros(0, np.uint64)
        return ends, sets

    def of(self, number: int) -> Hashes:
        """The sorted hashes of the shingles of a record."""
        shard = int(self.places.shard_of(np.uint64(number)))
        row = number - int(self.places.first[shard])
        ends, sets = self._shard(shard)
        found: Hashes = np.asarray(sets[int(ends[row]) : int(ends[row + 1])])
        return found


class Verifier(PipelineStep):
    """Computes the similarity of the candidates whose later record is in one shard; keeps those that are
    copies."""

    type, name = "verify", "candidates"

    def __init__(
        self, folder: Path, pairs: Path, output: Path, settings: NearDuplicatesStep, shards: int
    ) -> None:
        super().__init__()
        self.folder, self.pairs, self.output, self.settings, self.shards = (
            folder,
            pairs,
            output,
            settings,
            shards,
        )

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        places = Places.of(self.folder, self.shards)
        low, high = places.first[rank], places.first[rank + 1]
        sets = ShingleSets(self.folder, places)
        found: list[tuple[int, int, float]] = []
        checked = 0
        for pairs in self._mine(low, high):
            last, shingles = -1, np.zeros(0, np.uint64)
            for later, earlier in pairs.tolist():
                if later != last:
                    last, shingles = later, sets.of(later)
                checked += 1
                similarity = self._similarity(shingles, sets.of(earlier))
                if similarity >= self.settings.threshold:
                    found.append((later, earlier, similarity))
        self.stat_update("checked", value=checked)
        write_array(self.output / f"{shard_name(rank)}.npy", np.array(found, EDGE))
        yield from ()

    def _similarity(self, one: Hashes, other: Hashes) -> float:
        # Sets of too different a size cannot be similar enough: |A∩B|/|A∪B| ≤ min/max.
        small, large = sorted((len(one), len(other)))
        return jaccard(one, other) if large and small / large >= self.settings.threshold else 0.0

    def _mine(self, low: Any, high: Any) -> list[Any]:
        """The pairs of this shard, each once."""
        slices = []
        for path in sorted(self.pairs.glob("*.npy")):
            pairs: Any = read_array(path)
            first, last = np.searchsorted(pairs["later"], [low, high])
            if last > first:
                slices.append(np.asarray(pairs[first:last]))
        return [np.unique(np.concatenate(slices))] if slices else []


def survivors(folder: Path, places: Places) -> tuple[Any, Any, Any]:
    """Which records go, in order, and for each the record that stays and their similarity.

    In the order of the corpus a record goes if it is a copy of an earlier one that stays, so that every one
    that goes has its like in the result, at the threshold or above: chains of ever less similar records do
    not drag each other along.
    """
    gone: list[int] = []
    kept: list[int] = []
    similarity: list[float] = []
    dropped = np.zeros(places.total, bool)
    for path in sorted(folder.glob("*.npy")):
        edges: Any = np.sort(read_array(path), order=("later", "earlier"))
        begin = 0
        while begin < len(edges):
            later = edges["later"][begin]
            end = int(np.searchsorted(edges["later"], later, side="right"))
            alive = [edge for edge in edges[begin:end].tolist() if not dropped[edge[1]]]
            if alive:
                best = max(alive, key=lambda edge: (edge[2], -edge[1]))
                dropped[later] = True
                gone.append(int(later))
                kept.append(best[1])
                similarity.append(best[2])
            begin = end
    return np.array(gone, np.uint64), np.array(kept, np.uint64), np.array(similarity, np.float64)
