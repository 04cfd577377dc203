"""Which words stand near which groups of people: counts within a window, and how far they are from chance.

In a text of N words in which a group is named n_g times and an attribute n_a times, chance puts n_g · n_a ·
2w / N attributes within w words of the group. Pointwise mutual information is the logarithm of what was
counted over that (Church & Hanks 1990), in bits; G² says how sure it is (Dunning 1993; above 10.8, p <
0.001).
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from workbench.data.cleaning.reports.sketches import Frequent
from workbench.data.cleaning.reports.terms import ATTRIBUTES, IDENTITIES, vocabulary
from workbench.data.cleaning.words import Hashes, word_hashes
from workbench.recipe.cleaning.recipe import ReportSection

NEIGHBOURS = 20_000
"""Different words in the company of a group that are counted at once."""

COMPANY = 12
"""Words that are told of each group beside the attributes: those in its company far more than chance has
it."""


class Table:
    """Words of several groups, to be found in an array of hashes at once."""

    def __init__(self, groups: dict[str, list[str]]) -> None:
        self.names = list(groups)
        pairs = sorted(
            (int(word_hashes([word])[0]), number)
            for number, words in enumerate(groups.values())
            for word in set(words)
        )
        self.hashes = np.array([pair[0] for pair in pairs], np.uint64)
        self.groups = np.array([pair[1] for pair in pairs], np.int64)

    def find(self, hashes: Hashes) -> tuple[Any, Any]:
        """Places of words of any group, and which group; a word of two groups counts for each."""
        if not len(self.hashes):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        first = np.searchsorted(self.hashes, hashes, side="left")
        last = np.searchsorted(self.hashes, hashes, side="right")
        hits = np.flatnonzero(last > first)
        places = np.repeat(hits, (last - first)[hits])
        if not len(places):
            return places, places
        groups = np.concatenate([self.groups[first[hit] : last[hit]] for hit in hits])
        return places, groups


class BiasCounter:
    """Counts a shard."""

    def __init__(self, settings: ReportSection) -> None:
        self.window = settings.window
        self.identities = Table(vocabulary(IDENTITIES, settings.identity_terms))
        self.attributes = Table(vocabulary(ATTRIBUTES, settings.attribute_terms))
        shape = (len(self.identities.names), len(self.attributes.names))
        self.near = np.zeros(shape, np.int64)
        self.named, self.said = np.zeros(shape[0], np.int64), np.zeros(shape[1], np.int64)
        self.company = [Frequent(NEIGHBOURS) for _ in self.identities.names]
        self.words = 0

    def add(self, words: list[str], hashes: Hashes) -> None:
        """One record."""
        self.words += len(words)
        places, groups = self.identities.find(hashes)
        there, attributes = self.attributes.find(hashes)
        self.said += np.bincount(attributes, minlength=len(self.said))
        if not len(places):
            return
        self.named += np.bincount(groups, minlength=len(self.named))
        if len(there):
            low = np.searchsorted(there, places - self.window, side="left")
            high = np.searchsorted(there, places + self.window, side="right")
            for place, group, a, b in zip(places, groups, low, high, strict=True):
                for other in range(a, b):
                    if there[other] != place:
                        self.near[group, attributes[other]] += 1
        for place, group in zip(places.tolist(), groups.tolist(), strict=True):
            before = words[max(0, place - self.window) : place]
            self.company[group].add(before + words[place + 1 : place + 1 + self.window])

    def take(self, values: dict[str, Any]) -> None:
        """Add what another counter gave."""
        self.words += values["words"]
        self.near += np.array(values["near"], np.int64)
        self.named += np.array(values["named"], np.int64)
        self.said += np.array(values["said"], np.int64)
        for frequent, counts in zip(self.company, values["company"], strict=True):
            frequent.add(counts)

    def values(self) -> dict[str, Any]:
        """What is added up over shards."""
        return {
            "words": self.words,
            "near": self.near.tolist(),
            "named": self.named.tolist(),
            "said": self.said.tolist(),
            "company": [dict(sorted(frequent.counts.items())) for frequent in self.company],
        }


def bias_report(
    counter: BiasCounter, settings: ReportSection, vocabulary_counts: Counter[str]
) -> dict[str, Any]:
    """The report from all counts, and those of all words."""
    span, total = 2 * settings.window, counter.words
    identities, attributes = counter.identities.names, counter.attributes.names
    pairs = [
        {"group": group, "attribute": attribute, **figures}
        for g, group in enumerate(identities)
        for a, attribute in enumerate(attributes)
        if int(counter.near[g, a]) >= settings.min_count
        and (
            figures := _figures(
                int(counter.near[g, a]), int(counter.named[g]), int(counter.said[a]), total, span
            )
        )
    ]
    company = {
        group: _company(counter.company[g].counts, int(counter.named[g]), vocabulary_counts, total, settings)
        for g, group in enumerate(identities)
        if counter.named[g]
    }
    return {
        "window": settings.window,
        "words": total,
        "groups": {name: int(counter.named[g]) for g, name in enumerate(identities) if counter.named[g]},
        "attributes": {name: int(counter.said[a]) for a, name in enumerate(attributes) if counter.said[a]},
        "pairs": sorted(
            pairs, key=lambda pair: (-abs(float(pair["g2"])), str(pair["group"]), str(pair["attribute"]))
        ),
        "company": {group: words for group, words in company.items() if words},
    }


def _figures(near: int, named: int, said: int, total: int, span: int) -> dict[str, float]:
    """Counts, PMI in bits and G², of a pair."""
    expected = named * said * span / total if total else 0.0
    if not expected or not near:
        return {}
    pmi = math.log2(near / expected)
    return {
        "count": near,
        "expected": round(expected, 2),
        "pmi": round(pmi, 3),
        "g2": round(_g2(near, expected), 1),
    }


def _g2(near: float, expected: float) -> float:
    """Dunning's statistic of a count that is small beside all words (its Poisson form)."""
    return 2 * (near * math.log(near / expected) - (near - expected))


def _company(
    counts: Counter[str], named: int, words: Counter[str], total: int, settings: ReportSection
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for word, near in counts.items():
        if near < settings.min_count or len(word) < 3 or not word.isalpha() or word not in words:
            continue
        figures = _figures(near, named, words[word], total, 2 * settings.window)
        if figures and figures["pmi"] > 0 and figures["g2"] > 10.8:
            found.append({"word": word, **figures})
    return sorted(found, key=lambda entry: (-float(entry["g2"]), str(entry["word"])))[:COMPANY]
