"""Counts a shard of the result for the report; what is counted adds up over shards."""

from __future__ import annotations

import zlib
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
from datatrove.data import DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from workbench.data.cleaning.items import Item
from workbench.data.cleaning.layout import Layout, shard_name, whole
from workbench.data.cleaning.reports.bias import BiasCounter
from workbench.data.cleaning.reports.sketches import EDGES, Distinct, Frequent, length_bin
from workbench.data.cleaning.words import n_gram_hashes, plain_words, word_hashes
from workbench.recipe.cleaning import CleaningRecipe

GRAMS = (1, 2, 3)
COMPRESSED_EVERY, COMPRESSED_BYTES = 8, 1 << 16
"""Of every so many records so many bytes are compressed, each by itself, to see how repetitive they are."""


class ShardCounts:
    """All counts of a shard."""

    def __init__(self, recipe: CleaningRecipe) -> None:
        self.recipe = recipe
        self.sources: dict[int, Counter[str]] = {}
        self.languages: Counter[str] = Counter()
        self.lengths = [0] * (len(EDGES) - 1)
        self.distinct = {n: Distinct() for n in GRAMS}
        self.grams = dict.fromkeys(GRAMS, 0)
        self.frequent = Frequent()
        self.compressed = [0, 0]
        self.bias = BiasCounter(recipe.report) if recipe.report.bias else None
        self.records = 0

    def add(self, item: Item) -> None:
        """One record of the result."""
        text = item.text
        raw = text.encode("utf-8", "replace")
        # Turn by turn: nobody stands near a word of another's.
        turns = [plain_words(part) for part in item.texts] if item.kind != "tagging" else [plain_words(text)]
        words = list(chain.from_iterable(turns))
        counts = self.sources.setdefault(item.source, Counter())
        counts.update(records=1, characters=len(text), bytes=len(raw), words=len(words))
        if item.language:
            self.languages[item.language] += 1
        self.lengths[length_bin(len(words))] += 1
        self.records += 1
        if not (self.recipe.report.diversity or self.bias is not None):
            return
        self.frequent.add(words)
        hashes = word_hashes(words)
        if self.recipe.report.diversity:
            for n in GRAMS:
                if len(hashes) >= n:
                    grams = n_gram_hashes(hashes, n)
                    self.grams[n] += len(grams)
                    self.distinct[n].add(grams)
            if self.records % COMPRESSED_EVERY == 1:
                self.compressed[0] += len(raw[:COMPRESSED_BYTES])
                self.compressed[1] += len(zlib.compress(raw[:COMPRESSED_BYTES], 6))
        if self.bias is not None:
            begin = 0
            for turn in turns:
                self.bias.add(turn, hashes[begin : begin + len(turn)])
                begin += len(turn)

    def values(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "sources": {str(number): dict(counts) for number, counts in sorted(self.sources.items())},
            "languages": dict(sorted(self.languages.items())),
            "lengths": self.lengths,
            "distinct": {str(n): sketch.values() for n, sketch in self.distinct.items()},
            "grams": {str(n): count for n, count in self.grams.items()},
            "words": dict(sorted(self.frequent.counts.items())),
            "compressed": self.compressed,
            "bias": self.bias.values() if self.bias is not None else None,
        }


class ReportCollector(PipelineStep):
    """Counts what passes, and writes it when the shard is through."""

    type, name = "collect", "report"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        layout = Layout(self.folder)
        counts = ShardCounts(layout.cleaning.recipe())
        for item in data:
            counts.add(item)
            yield item
        with whole(layout.work("report", f"{shard_name(rank)}.json")) as temporary:
            temporary.write_bytes(orjson.dumps(counts.values()))
