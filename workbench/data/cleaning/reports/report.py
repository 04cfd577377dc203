"""The report of a cleaning: what every step did, where the result comes from, how varied it is."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from workbench.data.cleaning.reports.bias import BiasCounter, bias_report
from workbench.data.cleaning.reports.collecting import GRAMS
from workbench.data.cleaning.reports.sketches import EDGES, Distinct, Frequent
from workbench.recipe.cleaning import CleaningRecipe

MEASURES = ("records", "characters", "bytes", "words")


class Totals:
    """The counts of all shards, added up one shard at a time."""

    def __init__(self, recipe: CleaningRecipe) -> None:
        self.sources: list[Counter[str]] = [Counter() for _ in recipe.data.sources]
        self.languages: Counter[str] = Counter()
        self.lengths = np.zeros(len(EDGES) - 1, np.int64)
        self.words = Frequent()
        self.distinct = {n: Distinct() for n in GRAMS}
        self.grams: Counter[int] = Counter()
        self.compressed = np.zeros(2, np.int64)
        self.bias = BiasCounter(recipe.report) if recipe.report.bias else None

    def take(self, part: dict[str, Any]) -> None:
        """Add a shard."""
        for number, counts in part["sources"].items():
            self.sources[int(number)].update(counts)
        self.languages.update(part["languages"])
        self.lengths += np.array(part["lengths"], np.int64)
        self.words.add(part["words"])
        self.compressed += np.array(part["compressed"], np.int64)
        for n in GRAMS:
            self.distinct[n].add(np.array(part["distinct"][str(n)], np.uint64))
            self.grams[n] += part["grams"][str(n)]
        if self.bias is not None:
            self.bias.take(part["bias"])


def make_report(
    recipe: CleaningRecipe, kind: str, steps: list[dict[str, Any]], folder: Path
) -> dict[str, Any]:
    """The report from the counts of all shards; `steps` are the counts of the steps."""
    totals = Totals(recipe)
    for path in sorted(folder.glob("*.json")):
        totals.take(orjson.loads(path.read_bytes()))
    found: dict[str, Any] = {
        "kind": kind,
        "steps": steps,
        "mixture": _mixture(recipe, totals),
        "lengths": _lengths(totals),
    }
    if recipe.report.diversity:
        found["diversity"] = _diversity(totals)
    if totals.bias is not None:
        found["bias"] = bias_report(totals.bias, recipe.report, totals.words.counts)
    return found


def _mixture(recipe: CleaningRecipe, totals: Totals) -> dict[str, Any]:
    total = {name: sum(counts[name] for counts in totals.sources) for name in MEASURES}
    rows: list[dict[str, Any]] = [
        {
            "source": spec.path,
            **{name: counts[name] for name in MEASURES},
            "share": round(counts["words"] / total["words"], 6) if total["words"] else 0.0,
        }
        for spec, counts in zip(recipe.data.sources, totals.sources, strict=True)
    ]
    shares = [float(row["share"]) for row in rows if row["share"]]
    entropy = -sum(share * math.log(share) for share in shares)
    return {
        "total": total,
        "sources": rows,
        # e to the entropy of the shares: as many sources as if all were equally large.
        "effective_sources": round(math.exp(entropy), 3) if shares else 0,
        "languages": dict(sorted(totals.languages.items(), key=lambda entry: (-entry[1], entry[0]))),
    }


def _lengths(totals: Totals) -> list[dict[str, int]]:
    return [
        {"from": EDGES[number], "to": EDGES[number + 1] - 1, "records": int(count)}
        for number, count in enumerate(totals.lengths)
        if count
    ]


def _diversity(totals: Totals) -> dict[str, Any]:
    words = totals.words.counts
    total = sum(words.values())
    shares = np.array(sorted(words.values()), np.float64) / total if total else np.zeros(0)
    plain, packed = (int(size) for size in totals.compressed)
    found: dict[str, Any] = {
        "vocabulary": totals.distinct[1].estimate(),
        "word_entropy_bits": round(float(-(shares * np.log2(shares)).sum()), 4) if total else 0.0,
        "compression": round(plain / packed, 4) if packed else 0.0,
        "commonest": sorted(words.items(), key=lambda entry: (-entry[1], entry[0]))[:20],
    }
    for n in GRAMS:
        grams, distinct = totals.grams[n], totals.distinct[n].estimate()
        ratio = round(min(1.0, distinct / grams), 6) if grams else 0.0
        found[f"distinct_{n}"] = {"total": grams, "distinct": distinct, "ratio": ratio}
    return found
