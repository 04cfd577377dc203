"""Exact copies: 128-bit hashes of the text, sorted part by part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from workbench.data.cleaning.copies.places import Places, write_count
from workbench.data.cleaning.items import loosely
from workbench.data.cleaning.layout import read_array, shard_name, write_array
from workbench.recipe.cleaning.content import ExactDuplicatesStep

HASH = np.dtype([("high", "<u8"), ("low", "<u8"), ("label", "<u8")])
PAIRS = np.dtype([("gone", "<u8"), ("kept", "<u8"), ("agrees", "?")], align=True)
"""Copies, and whether they have the label of what stays. Aligned, for numpy makes a copy of a column that is
not whenever it is searched."""


def text_hash(text: str, is_loose: bool, label: str = "") -> tuple[int, int, int]:
    """The hash of a text, in two halves, and that of its label; `is_loose`: of `loosely(text)`."""
    digest = xxhash.xxh3_128_digest((loosely(text) if is_loose else text).encode())
    label_hash = xxhash.xxh3_64_intdigest(label.encode())
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big"), label_hash


class HashWriter(PipelineStep):
    """Writes the hash of each record of a shard."""

    type, name = "collect", "hashes"

    def __init__(self, folder: Path, settings: ExactDuplicatesStep) -> None:
        super().__init__()
        self.folder, self.is_loose = folder, settings.ignore_case_and_spaces

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        hashes: list[Any] = []
        held: list[tuple[int, int, int]] = []
        for item in data:
            held.append(text_hash(item.labelled, self.is_loose, item.label))
            if len(held) >= 1 << 16:
                hashes.append(np.array(held, HASH))
                held = []
            yield item
        found = np.concatenate([*hashes, np.array(held, HASH)])
        write_array(self.folder / f"{shard_name(rank)}.npy", found)
        write_count(self.folder, rank, len(found))


class HashSorter(PipelineStep):
    """Finds the copies among the records whose hash falls into one part."""

    type, name = "find", "copies"

    def __init__(self, folder: Path, output: Path, settings: ExactDuplicatesStep, shards: int) -> None:
        super().__init__()
        self.folder, self.output, self.shards = folder, output, shards
        self.drops_others = settings.other_label == "drop"

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        places = Places.of(self.folder, self.shards)
        hashes, numbers = [], []
        for shard in range(self.shards):
            every: Any = read_array(self.folder / f"{shard_name(shard)}.npy")
            rows = np.flatnonzero(every["high"] % np.uint64(world_size) == np.uint64(rank))
            hashes.append(np.asarray(every[rows]))
            numbers.append(rows.astype(np.uint64) + places.first[shard])
        found, number = np.concatenate(hashes), np.concatenate(numbers)
        write_array(self.output / f"{shard_name(rank)}.npy", copies_of(found, number, self.drops_others))
        yield from ()


def copies_of(hashes: Any, numbers: Any, drops_others: bool) -> Any:
    """`PAIRS` by what goes: all but the first of the same text and label, or, `drops_others`, of the same
    text."""
    order = np.lexsort((numbers, hashes["label"], hashes["low"], hashes["high"]))
    found, number = hashes[order], numbers[order]
    text, label = found[["high", "low"]], found["label"]
    new = np.ones(len(found), bool)
    new[1:] = text[1:] != text[:-1]
    if not drops_others:
        new[1:] |= label[1:] != label[:-1]
    starts = np.flatnonzero(new)
    if not len(starts):
        return np.zeros(0, PAIRS)
    group = np.cumsum(new) - 1
    first = np.minimum.reduceat(number, starts)[group]
    stays = number == first
    pairs = np.empty(int((~stays).sum()), PAIRS)
    pairs["gone"], pairs["kept"] = number[~stays], first[~stays]
    pairs["agrees"] = (label == label[stays][group])[~stays]
    return pairs[np.argsort(pairs["gone"])]


def parts_for(records: int, memory: int) -> int:
    """Into how many parts the hashes are cut, so that one fits into so many bytes: 32 each with its number,
    sorted, and as much for the copies."""
    return max(1, -(-records * 128 // memory))
