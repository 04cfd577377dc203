"""Exact copies: 128-bit hashes of the text, sorted part by part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from workbench.data.cleaning.copies.places import Places, write_count
from workbench.data.cleaning.layout import read_array, shard_name, write_array
from workbench.recipe.cleaning.content import ExactDuplicatesStep

HASH = np.dtype([("high", "<u8"), ("low", "<u8")])
PAIRS = np.dtype([("gone", "<u8"), ("kept", "<u8")])


def text_hash(text: str, loosely: bool) -> tuple[int, int]:
    """The hash of a text; `loosely`: of its lower-case words with one blank between."""
    compared = " ".join(text.lower().split()) if loosely else text
    digest = xxhash.xxh3_128_digest(compared.encode())
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")


class HashWriter(PipelineStep):
    """Writes the hash of each record of a shard."""

    type, name = "collect", "hashes"

    def __init__(self, folder: Path, settings: ExactDuplicatesStep) -> None:
        super().__init__()
        self.folder, self.loosely = folder, settings.ignore_case_and_spaces

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        hashes: list[Any] = []
        held: list[tuple[int, int]] = []
        for item in data:
            held.append(text_hash(item.text, self.loosely))
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

    def __init__(self, folder: Path, output: Path, shards: int) -> None:
        super().__init__()
        self.folder, self.output, self.shards = folder, output, shards

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        places = Places.of(self.folder, self.shards)
        hashes, numbers = [], []
        for shard in range(self.shards):
            every: Any = read_array(self.folder / f"{shard_name(shard)}.npy")
            rows = np.flatnonzero(every["high"] % np.uint64(world_size) == np.uint64(rank))
            hashes.append(np.asarray(every[rows]))
            numbers.append(rows.astype(np.uint64) + places.first[shard])
        found, number = np.concatenate(hashes), np.concatenate(numbers)
        order = np.lexsort((number, found["low"], found["high"]))
        found, number = found[order], number[order]
        new = np.ones(len(found), bool)
        new[1:] = found[1:] != found[:-1]
        first = number[np.flatnonzero(new)][np.cumsum(new) - 1] if len(found) else number
        pairs = np.empty(int((~new).sum()), PAIRS)
        pairs["gone"], pairs["kept"] = number[~new], first[~new]
        write_array(self.output / f"{shard_name(rank)}.npy", np.sort(pairs, order="gone"))
        yield from ()


def parts_for(records: int, memory: int) -> int:
    """Into how many parts the hashes are cut, so that one fits into so many bytes: 24 each, sorted with as
    much."""
    return max(1, -(-records * 80 // memory))
