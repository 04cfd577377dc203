"""The place of a record among all: shards in order, rows in order. The smaller of two copies stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from workbench.data.cleaning.layout import read_array, shard_name, write_array

DROPS = np.dtype([("row", "<u8"), ("shard", "<u4"), ("kept_row", "<u8"), ("similarity", "<f8")])
"""Rows of a shard that go, and for each the record that stays in its place."""


class Places:
    """Numbers every record: `number = first[shard] + row`."""

    def __init__(self, counts: list[int]) -> None:
        self.first: Any = np.concatenate([[0], np.cumsum(np.array(counts, np.uint64))]).astype(np.uint64)

    @classmethod
    def of(cls, folder: Path, shards: int) -> Places:
        """From the counts that the collecting tasks wrote."""
        return cls([int(read_array(folder / f"{shard_name(shard)}.count.npy")[0]) for shard in range(shards)])

    @property
    def total(self) -> int:
        return int(self.first[-1])

    def shard_of(self, numbers: Any) -> Any:
        """The shards of some numbers."""
        return np.searchsorted(self.first, numbers, side="right") - 1

    def split(self, numbers: Any) -> tuple[Any, Any]:
        """Shards and rows of some numbers."""
        shards = self.shard_of(numbers)
        return shards, numbers - self.first[shards]


def write_count(folder: Path, rank: int, count: int) -> None:
    """How many records a shard has, for `Places.of`."""
    write_array(folder / f"{shard_name(rank)}.count.npy", np.array([count], np.uint64))


def write_drops(folder: Path, places: Places, shard: int, gone: Any, kept: Any, similarity: Any) -> None:
    """Write which records of a shard go for which; `gone` sorted."""
    found = np.empty(len(gone), DROPS)
    found["row"] = gone - places.first[shard]
    found["shard"], found["kept_row"] = places.split(kept)
    found["similarity"] = similarity
    write_array(folder / f"{shard_name(shard)}.npy", found)
