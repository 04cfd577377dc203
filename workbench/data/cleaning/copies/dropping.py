"""The stages that decide which copies go, and the step that drops them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from workbench.data.cleaning.copies.exact import PAIRS
from workbench.data.cleaning.copies.places import Places, write_drops
from workbench.data.cleaning.copies.runs import within
from workbench.data.cleaning.copies.verify import survivors
from workbench.data.cleaning.items import Item
from workbench.data.cleaning.layout import read_array, shard_name
from workbench.data.cleaning.shards import Lookup
from workbench.data.cleaning.verdicts import KEPT, Step, Verdict, dropped


class ExactDecider(PipelineStep):
    """Gathers the exact copies of all parts, a file a shard."""

    type, name = "decide", "copies"

    def __init__(self, folder: Path, pairs: Path, output: Path, shards: int) -> None:
        super().__init__()
        self.folder, self.pairs, self.output, self.shards = folder, pairs, output, shards

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        places = Places.of(self.folder, self.shards)
        paths = sorted(self.pairs.glob("*.npy"))
        for shard in range(self.shards):
            low, high = int(places.first[shard]), int(places.first[shard + 1])
            parts = [np.array(within(path, "gone", low, high)) for path in paths]
            every = np.concatenate([np.zeros(0, PAIRS), *parts])
            every = every[np.argsort(every["gone"])]
            write_drops(self.output, places, shard, every["gone"], every["kept"], every["agrees"])
        yield from ()


class NearDecider(PipelineStep):
    """Goes through the verified pairs in the order of the corpus, and decides which records go."""

    type, name = "decide", "near copies"

    def __init__(self, folder: Path, edges: Path, output: Path, shards: int) -> None:
        super().__init__()
        self.folder, self.edges, self.output, self.shards = folder, edges, output, shards

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        places = Places.of(self.folder, self.shards)
        for shard, found in enumerate(survivors(self.edges, places)):
            write_drops(self.output, places, shard, *found)
        yield from ()


class Copies(Step):
    """Drops the rows of a shard that were decided on; knows for each the record that stays.

    Must see every record of its shard, in order.
    """

    name: ClassVar[str] = "copies"
    TEXTS = 100
    """Copies of a shard that are told with the text of what stays."""

    def __init__(self, drops: Path, rank: int, reason: str, lookup: Lookup, wants: str) -> None:
        found: Any = read_array(drops / f"{shard_name(rank)}.npy")
        self.drops = {int(row["row"]): row for row in found}
        self.reason, self.lookup, self.wants = reason, lookup, wants
        self.row = -1

    def judge(self, item: Item) -> Verdict:
        self.row += 1
        drop = self.drops.get(self.row)
        if drop is None:
            return KEPT
        shard, row = int(drop["shard"]), int(drop["kept_row"])
        detail: dict[str, Any] = {"of": self.lookup.where(shard, row)}
        if not self.wants and not drop["similarity"]:
            return dropped("contradictory", **detail)
        if self.wants:
            detail |= {"value": round(float(drop["similarity"]), 4), "wants": self.wants}
        return dropped(self.reason, **detail)

    def text_of_other(self) -> str:
        """The text of the record that stays in the place of the one judged last, or nothing."""
        drop = self.drops.get(self.row)
        if drop is None:
            return ""
        return self.lookup.text(int(drop["shard"]), int(drop["kept_row"]))
