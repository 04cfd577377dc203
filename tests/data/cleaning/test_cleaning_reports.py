"""Reports: counts that must come out, and estimates within their known error."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np

from workbench.data.cleaning.items import Item
from workbench.data.cleaning.reports.bias import BiasCounter, bias_report
from workbench.data.cleaning.reports.collecting import ShardCounts
from workbench.data.cleaning.reports.sketches import SIZE, Distinct, Frequent
from workbench.data.cleaning.words import word_hashes
from workbench.recipe.cleaning import CleaningRecipe
from workbench.recipe.cleaning.recipe import ReportSection
from workbench.store.cleaning import Cleaning


def test_distinct_counts_are_exact_while_few_and_close_when_many() -> None:
    rng = np.random.default_rng(1)
    few, many = rng.integers(0, 2**64, 3000, np.uint64), rng.integers(0, 2**64, 200_000, np.uint64)
    sketch = Distinct()
    for _ in range(3):
        sketch.add(few)
    assert sketch.estimate() == len(np.unique(few))
    parts = [Distinct(), Distinct()]
    for number, part in enumerate(np.array_split(many, 20)):
        parts[number % 2].add(part)
    both = Distinct()
    for part_ in parts:
        both.add(np.array(part_.values(), np.uint64))
    # Five standard errors of the estimate, 1/√(k − 2) each.
    assert abs(both.estimate() / len(np.unique(many)) - 1) < 5 / math.sqrt(SIZE - 2)


def test_who_stands_near_what() -> None:
    settings = ReportSection(window=2, min_count=1, identity_terms={"cats": ["cat", "cats"]})
    counter = BiasCounter(settings)
    words = ("the cat was honest x y z w " * 50 + "a b c d e f g h " * 200).split()
    counter.add(words, word_hashes(words))
    found = bias_report(counter, settings, Counter(words))
    pair = next(p for p in found["pairs"] if p["group"] == "cats" and p["attribute"] == "praise")
    expected = 50 * 50 * 2 * 2 / len(words)
    assert pair["count"] == 50 and pair["expected"] == round(expected, 2)
    assert pair["pmi"] == round(math.log2(50 / expected), 3)
    assert {entry["word"] for entry in found["company"]["cats"]} == {"the", "was", "honest"}


def test_nobody_stands_near_the_words_of_another_turn() -> None:
    recipe = CleaningRecipe()
    recipe.report.window, recipe.report.min_count = 2, 1
    recipe.report.identity_terms = {"cats": ["cat"]}
    counts = ShardCounts(recipe)
    turns = [{"role": "user", "content": "hear the cat"}, {"role": "assistant", "content": "honest it was"}]
    counts.add(Item({"messages": turns}, "conversation"))
    bias = counts.bias
    assert bias is not None and bias.words == 6
    cats = bias.identities.names.index("cats")
    assert bias.named[cats] == 1 and bias.said.sum() == 1 and bias.near.sum() == 0
    assert dict(bias.company[cats].counts) == {"hear": 1, "the": 1}


def test_counts_of_shards_add_up() -> None:
    rng = random.Random(2)
    settings = ReportSection(min_count=1)
    words = [rng.choice(["he", "she", "nurse", "boss", "x", "y", "z"]) for _ in range(3000)]
    texts = [words[begin : begin + 100] for begin in range(0, 3000, 100)]
    total = BiasCounter(settings)
    for chunk in (texts[:13], texts[13:]):
        counter = BiasCounter(settings)
        for text in chunk:
            counter.add(text, word_hashes(text))
        total.take(counter.values())
    whole = BiasCounter(settings)
    for text in texts:
        whole.add(text, word_hashes(text))
    counts = Counter(words)
    report = bias_report(total, settings, counts)
    assert report == bias_report(whole, settings, counts)
    naive = sum(
        1
        for text in texts
        for i, one in enumerate(text)
        for j, other in enumerate(text)
        if i != j and abs(i - j) <= settings.window and one == "she" and other == "nurse"
    )
    found = {(p["group"], p["attribute"]): p["count"] for p in report["pairs"]}
    assert found["women", "care"] == naive


def test_frequent_words_outlive_the_bound() -> None:
    counts = Frequent(100)
    for number in range(1000):
        counts.add(["common", f"rare{number}"])
    assert len(counts.counts) <= 100 and counts.counts["common"] == 1000


def test_the_mixture_is_of_the_result(cleaned: Cleaning) -> None:
    report = cleaned.report()
    total = report["mixture"]["total"]
    assert sum(source["records"] for source in report["mixture"]["sources"]) == total["records"]
    assert sum(bin_["records"] for bin_ in report["lengths"]) == total["records"]
    diversity = report["diversity"]
    assert diversity["distinct_1"]["distinct"] == diversity["vocabulary"]
    assert 0 < diversity["distinct_1"]["ratio"] < diversity["distinct_3"]["ratio"] <= 1
