"""Lines that recur over the corpus: counted in one stage, gathered in the next, taken out in the one
after."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xxhash
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from workbench.data.cleaning.items import Item
from workbench.data.cleaning.layout import read_array, shard_name, write_array
from workbench.data.cleaning.verdicts import KEPT, Step, Verdict, changed, dropped
from workbench.data.cleaning.words import TOKEN, Hashes, plain_words
from workbench.recipe.cleaning.quality import BoilerplateStep

COUNTS = np.dtype([("hash", "<u8"), ("records", "<u4")])
HELD = 1 << 21
"""Lines of a shard that are counted at once; more go in several sorted pieces."""


def line_key(line: str, min_words: int) -> int | None:
    """What makes two lines the same: their plain words; none for a line of too few."""
    if len(line) < 2 * min_words - 1:
        return None
    words = plain_words(line)
    return xxhash.xxh3_64_intdigest(" ".join(words).encode()) if len(words) >= min_words else None


class LineCounter(PipelineStep):
    """Writes how many records of a shard have each line."""

    type, name = "collect", "lines"

    def __init__(self, folder: Path, settings: BoilerplateStep) -> None:
        super().__init__()
        self.folder, self.min_words = folder, settings.min_words

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        keys: list[int] = []
        total: Any = np.zeros(0, COUNTS)
        for item in data:
            lines = {
                key
                for text in item.texts
                for line in text.split("\n")
                if (key := line_key(line, self.min_words))
            }
            keys.extend(lines)
            if len(keys) >= HELD:
                total = _added([total, _counted(keys)])
                keys = []
            yield item
        write_array(self.folder / f"{shard_name(rank)}.npy", _added([total, _counted(keys)]))


def _counted(keys: list[int]) -> Any:
    hashes, counts = np.unique(np.array(keys, np.uint64), return_counts=True)
    found = np.empty(len(hashes), COUNTS)
    found["hash"], found["records"] = hashes, counts
    return found


def _added(parts: list[Any]) -> Any:
    """Counts of the same line added up, sorted by hash."""
    every = np.concatenate(parts)
    if not len(every):
        return every
    every = every[np.argsort(every["hash"], kind="stable")]
    starts = np.flatnonzero(np.concatenate([[True], every["hash"][1:] != every["hash"][:-1]]))
    found = np.empty(len(starts), COUNTS)
    found["hash"] = every["hash"][starts]
    found["records"] = np.add.reduceat(every["records"], starts)
    return found


class LineGatherer(PipelineStep):
    """Adds up the counts of all shards for one part of the hashes, and writes those that recur."""

    type, name = "find", "recurring lines"

    def __init__(self, folder: Path, output: Path, settings: BoilerplateStep, shards: int) -> None:
        super().__init__()
        self.folder, self.output, self.settings, self.shards = folder, output, settings, shards

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        bounds = [part * ((1 << 64) // world_size) for part in range(world_size)] + [1 << 64]
        total: Any = np.zeros(0, COUNTS)
        held: list[Any] = []
        count = 0
        for shard in range(self.shards):
            counts: Any = read_array(self.folder / f"{shard_name(shard)}.npy")
            hashes = counts["hash"]
            first = int(np.searchsorted(hashes, np.uint64(bounds[rank])))
            upper = bounds[rank + 1]
            last = len(counts) if upper == 1 << 64 else int(np.searchsorted(hashes, np.uint64(upper)))
            held.append(np.array(counts[first:last]))
            count += last - first
            # Not after each shard: all that is known would be sorted as often.
            if count > max(HELD, len(total)):
                total, held, count = _added([total, *held]), [], 0
        total = _added([total, *held])
        write_array(
            self.output / f"{shard_name(rank)}.npy", total[total["records"] >= self.settings.min_records]
        )
        yield from ()


class Boilerplate(Step):
    """Takes out the lines that recur."""

    name: ClassVar[str] = "boilerplate"

    def __init__(self, settings: BoilerplateStep, found: Path) -> None:
        self.settings = settings
        parts: list[Any] = [read_array(path) for path in sorted(found.glob("*.npy"))]
        every = np.concatenate(parts) if parts else np.zeros(0, COUNTS)
        # One behind the other: of a column among others numpy makes a copy, whole, for each search.
        self.hashes: Hashes = np.ascontiguousarray(every["hash"])
        self.records = every["records"]

    def judge(self, item: Item) -> Verdict:
        if not item.can_change or not len(self.hashes):
            return KEPT
        taken: Counter[str] = Counter()
        item.edit(lambda text: self._without(text, taken))
        if not taken:
            return KEPT
        line, _ = taken.most_common(1)[0]
        told = {"lines": taken.total(), "line": line[:160], "value": self._count(line)}
        told["wants"] = f"< {self.settings.min_records} records"
        left = len(TOKEN.findall(item.text))
        if not left or left < self.settings.drop_below_words:
            return dropped("only_boilerplate", words_left=left, **told)
        return changed("recurring_lines", **told)

    def _without(self, text: str, taken: Counter[str]) -> str:
        lines = text.split("\n")
        kept = [line for line in lines if not self._count(line)]
        if len(kept) == len(lines):
            return text
        taken.update(line for line in lines if self._count(line))
        return "\n".join(kept).strip("\n")

    def _count(self, line: str) -> int:
        """The records that have the line, if they are enough; else 0."""
        key = line_key(line, self.settings.min_words)
        if key is None:
            return 0
        place = int(np.searchsorted(self.hashes, np.uint64(key)))
        found = place < len(self.hashes) and self.hashes[place] == np.uint64(key)
        return int(self.records[place]) if found else 0
