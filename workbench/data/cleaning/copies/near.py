"""Near copies: MinHash signatures in bands (Broder 1997; Leskovec et al. 2020, chapter 3), rensa's hashing.

Two records of Jaccard similarity s agree in a band of r values with probability s^r, and in one of b bands
with 1 − (1 − s^r)^b. What agrees in a band is a candidate and no more: exact Jaccard decides (`verify`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from workbench.data.cleaning.copies.places import Places, write_count
from workbench.data.cleaning.copies.runs import PAIR, Runs
from workbench.data.cleaning.extras import needed
from workbench.data.cleaning.items import Item
from workbench.data.cleaning.layout import read_array, shard_name, whole, write_array
from workbench.data.cleaning.words import Hashes, mixed, plain_words, shingles
from workbench.recipe.cleaning.content import NearDuplicatesStep

BATCH = 256
SORTED = 1_000_000
"""Hashes that are worth a task of their own to sort."""


def bands_for(threshold: float, num_perm: int, recall: float) -> tuple[int, int]:
    """Bands and rows of a signature: the most rows with which a pair at the threshold is still found.

    More rows in a band make fewer candidates that are none.
    """
    for rows in range(num_perm, 0, -1):
        bands = num_perm // rows
        if 1 - (1 - threshold**rows) ** bands >= recall:
            return bands, rows
    return num_perm, 1


class SignatureWriter(PipelineStep):
    """Writes, for each record of a shard, a hash a band, and the set of its shingles for the verification."""

    type, name = "collect", "signatures"

    def __init__(self, folder: Path, settings: NearDuplicatesStep, seed: int) -> None:
        super().__init__()
        self.folder, self.settings, self.seed = folder, settings, seed

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        with needed("rensa"):
            from rensa import RMinHash
        s = self.settings
        bands, rows = bands_for(s.threshold, s.num_perm, s.recall)
        signatures: list[Any] = []
        ends: list[Any] = [np.zeros(1, np.uint64)]
        count, total = 0, 0
        name = shard_name(rank)

        def sign(sets: list[Hashes]) -> None:
            nonlocal total
            offsets = np.concatenate([[0], np.cumsum([len(one) for one in sets])]).astype(np.uint64)
            flat = np.concatenate(sets)
            flat.tofile(file)
            matrix = RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, s.num_perm, self.seed)
            signatures.append(banded(np.array(matrix.to_rows(), np.uint64), bands, rows))
            ends.append(offsets[1:] + np.uint64(total))
            total += len(flat)

        with whole(self.folder / f"{name}.shingles") as temporary, temporary.open("wb") as file:
            held: list[Hashes] = []
            for item in data:
                held.append(compared(item, s.n_grams))
                count += 1
                if len(held) == BATCH:
                    sign(held)
                    held = []
                yield item
            if held:
                sign(held)
        every = np.concatenate(signatures, axis=1) if signatures else np.zeros((bands, 0), np.uint64)
        write_array(self.folder / f"{name}.bands.npy", every)
        write_array(self.folder / f"{name}.ends.npy", np.concatenate(ends))
        write_count(self.folder, rank, count)


def compared(item: Item, n: int) -> Hashes:
    """The hashes that tell whether a record is a near copy: its shingles.

    Many questions share a context: of a question they are those of the question, other ones for each context.
    A refused answer has others than a chosen one, and the same text other ones for each label, of tags for
    each order in which they change: a word more makes no other record.
    """
    if item.kind == "preference":
        chosen, rejected = item.compared_of("prompt", "chosen"), item.compared_of("rejected")
        return np.union1d(shingles(chosen, n), _salted(shingles(rejected, n), "rejected"))
    salt = item.label if item.kind != "tagging" else _changes(item.values.get("tags"))
    if item.kind == "span_extraction" and len(item.texts) == 2:
        question, context = item.texts
        return _salted(shingles(question, n), " ".join(plain_words(context)) + salt)
    found = shingles(item.compared, n)
    return _salted(found, salt) if salt else found


def _changes(tags: Any) -> str:
    return json.dumps([tag for tag, _ in groupby(tags or [])], default=str)


def _salted(hashes: Hashes, by: str) -> Hashes:
    """Other hashes for each salt, sorted."""
    salt = np.uint64(xxhash.xxh3_64_intdigest(by.encode()))
    with np.errstate(over="ignore"):
        return np.unique(mixed(hashes + salt))


def banded(signatures: Hashes, bands: int, rows: int) -> Any:
    """(records, num_perm) signatures as (bands, records) hashes."""
    cut = signatures[:, : bands * rows].reshape(len(signatures), bands, rows)
    total = np.zeros((len(signatures), bands), np.uint64)
    with np.errstate(over="ignore"):
        for row in range(rows):
            total = mixed(total + cut[:, :, row] + np.uint64(row + 1))
    return np.ascontiguousarray(total.T)


class CandidateFinder(PipelineStep):
    """Finds the pairs that agree in a band, for some of all bands and parts of their hashes."""

    type, name = "find", "candidates"

    def __init__(
        self, folder: Path, output: Path, settings: NearDuplicatesStep, shards: int, parts: int, most: int
    ) -> None:
        super().__init__()
        self.folder, self.output, self.settings = folder, output, settings
        self.shards, self.parts, self.most = shards, parts, most

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        places = Places.of(self.folder, self.shards)
        bands = bands_for(self.settings.threshold, self.settings.num_perm, self.settings.recall)[0]
        runs = Runs(self.output, rank, self.most)
        for unit in range(rank, bands * self.parts, world_size):
            for pairs in self._pairs(places, *divmod(unit, self.parts)):
                runs.add(pairs)
        runs.close()
        yield from ()

    def _pairs(self, places: Places, band: int, part: int) -> Iterator[Any]:
        hashes, numbers = [], []
        for shard in range(self.shards):
            every: Any = read_array(self.folder / f"{shard_name(shard)}.bands.npy")[band]
            rows = np.flatnonzero(every % np.uint64(self.parts) == np.uint64(part))
            hashes.append(np.asarray(every[rows]))
            numbers.append(rows.astype(np.uint64) + places.first[shard])
        found, number = np.concatenate(hashes), np.concatenate(numbers)
        del hashes, numbers
        yield from agreeing(found, number, self.settings.max_bucket, self.most)


def agreeing(hashes: Hashes, numbers: Any, most: int, at_once: int) -> Iterator[Any]:
    """All pairs of numbers with the same hash, at most `at_once` at a time; in a large bucket, each with the
    first `most` of it."""
    order = np.lexsort((numbers, hashes))
    hashes, numbers = hashes[order], numbers[order]
    del order
    edges = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1], [True]]))
    begins, sizes = edges[:-1], np.diff(edges)
    for offset in range(most):
        # The pairs with the record at this place of each bucket that has one behind it.
        alive = sizes > offset + 1
        begins, sizes = begins[alive], sizes[alive]
        if not len(begins):
            return
        ends = np.cumsum(sizes - offset - 1)
        for low in range(0, int(ends[-1]), at_once):
            places = np.arange(low, min(low + at_once, int(ends[-1])))
            bucket = np.searchsorted(ends, places, side="right")
            pairs = np.empty(len(places), PAIR)
            pairs["earlier"] = numbers[begins[bucket] + offset]
            # Counted from the end of its bucket.
            pairs["later"] = numbers[begins[bucket] + sizes[bucket] - (ends[bucket] - places)]
            yield pairs


def parts_for(records: int, memory: int) -> int:
    """Into how many parts a band is cut, so that sorting one fits into half of so many bytes: 16 each, and
    the order. The other half is for the pairs."""
    return max(1, -(-records * 56 * 2 // memory))


def tasks_for(records: int, bands: int, parts: int) -> int:
    """How many tasks the bands and parts are shared among: as many as there are, of few records fewer."""
    return max(1, min(bands * parts, bands * records // SORTED))
