"""The report of a cleaning: what every step did, where the result comes from, how varied it is."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from workbench.data.cleaning.reports.bias import bias_report
from workbench.data.cleaning.reports.collecting import GRAMS
from workbench.data.cleaning.reports.sketches import EDGES, Distinct, Frequent
from workbench.recipe.cleaning import CleaningRecipe

MEASURES = ("records", "characters", "bytes", "words")


def make_report(
    recipe: CleaningRecipe, kind: str, steps: list[dict[str, Any]], folder: Path
) -> dict[str, Any]:
    """The report from the counts of all shards; `steps` are the counts of the steps."""
    parts: list[dict[str, Any]] = [orjson.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]
    words = Frequent()
    for part in parts:
        words.add(part["words"])
    found: dict[str, Any] = {
        "kind": kind,
        "steps": steps,
        "mixture": _mixture(recipe, parts),
        "lengths": _lengths(parts),
    }
    if recipe.report.diversity:
        found["diversity"] = _diversity(parts, words.counts)
    if recipe.report.bias:
        found["bias"] = bias_report([part["bias"] for part in parts], recipe.report, words.counts)
    return found


def _mixture(recipe: CleaningRecipe, parts: list[dict[str, Any]]) -> dict[str, Any]:
    sources: list[Counter[str]] = [Counter() for _ in recipe.data.sources]
    languages: Counter[str] = Counter()
    for part in parts:
        for number, counts in part["sources"].items():
            sources[int(number)].update(counts)
        languages.update(part["languages"])
    total = {name: sum(counts[name] for counts in sources) for name in MEASURES}
    rows: list[dict[str, Any]] = [
        {
            "source": spec.path,
            **{name: counts[name] for name in MEASURES},
            "share": round(counts["words"] / total["words"], 6) if total["words"] else 0.0,
        }
        for spec, counts in zip(recipe.data.sources, sources, strict=True)
    ]
    shares = [float(row["share"]) for row in rows if row["share"]]
    return {
        "total": total,
        "sources": rows,
        # e to the entropy of the shares: as many sources as if all were equally large.
        "effective_sources": round(math.exp(-sum(share * math.log(share) for share in shares)), 3)
        if shares
        else 0,
        "languages": dict(sorted(languages.items(), key=lambda entry: (-entry[1], entry[0]))),
    }


def _lengths(parts: list[dict[str, Any]]) -> list[dict[str, int]]:
    every = np.sum([part["lengths"] for part in parts], axis=0) if parts else np.zeros(len(EDGES) - 1)
    return [
        {"from": EDGES[number], "to": EDGES[number + 1] - 1, "records": int(count)}
        for number, count in enumerate(every)
        if count
    ]


def _diversity(parts: list[dict[str, Any]], words: Counter[str]) -> dict[str, Any]:
    total = sum(words.values())
    shares = np.array(sorted(words.values()), np.float64) / total if total else np.zeros(0)
    plain, packed = (sum(part["compressed"][side] for part in parts) for side in (0, 1))
    found: dict[str, Any] = {
        "vocabulary": _distinct(parts, 1).estimate(),
        "word_entropy_bits": round(float(-(shares * np.log2(shares)).sum()), 4) if total else 0.0,
        "compression": round(plain / packed, 4) if packed else 0.0,
        "commonest": sorted(words.items(), key=lambda entry: (-entry[1], entry[0]))[:20],
    }
    for n in GRAMS:
        grams = sum(part["grams"][str(n)] for part in parts)
        distinct = _distinct(parts, n).estimate()
        found[f"distinct_{n}"] = {
            "total": grams,
            "distinct": distinct,
            "ratio": round(min(1.0, distinct / grams), 6) if grams else 0.0,
        }
    return found


def _distinct(parts: list[dict[str, Any]], n: int) -> Distinct:
    sketch = Distinct()
    for part in parts:
        sketch.add(np.array(part["distinct"][str(n)], np.uint64))
    return sketch
