"""Copies against all pairs compared one by one, with sets of strings instead of hashes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.cleaning.conftest import make_cleaning, prose, rows_of, run_cleaning, write_lines
from workbench.data.cleaning.copies import exact, near
from workbench.data.cleaning.copies.near import agreeing, banded, bands_for
from workbench.data.cleaning.items import Item
from workbench.data.cleaning.words import jaccard, n_gram_hashes, plain_words, shingles, word_hashes
from workbench.recipe.cleaning import load_cleaning
from workbench.store.cleaning_log import StepLogReader

N = 5


def grams(text: str) -> set[tuple[str, ...]]:
    words = plain_words(text)
    return {tuple(words[i : i + N]) for i in range(max(1, len(words) - N + 1))}


def similarity(one: str, other: str) -> float:
    a, b = grams(one), grams(other)
    return len(a & b) / len(a | b)


def varied(rng: random.Random) -> list[str]:
    """Texts, and copies of them with ever more words exchanged, also copies of copies."""
    texts = [prose(rng, 10) for _ in range(30)]
    for _ in range(50):
        words = rng.choice(texts).split()
        for _ in range(rng.choice([1, 2, 3, 5, 8])):
            words[rng.randrange(len(words))] = "other"
        texts.append(" ".join(words))
    rng.shuffle(texts)
    return texts


def test_near_copies_are_those_of_all_pairs(tmp_path: Path) -> None:
    texts = varied(random.Random(8))
    kept: list[str] = []
    for text in texts:
        if all(similarity(text, other) < 0.7 for other in kept):
            kept.append(text)
    path = write_lines(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    cleaning = make_cleaning(
        tmp_path / "c",
        "text",
        f"data.sources=[{path}]",
        "order=[near_duplicates]",
        "near_duplicates.recall=0.9999",
        "executor.workers=1",
        "executor.shard_megabytes=0.02",
        "report.bias=false",
    )
    found = [row["text"] for row in rows_of(run_cleaning(cleaning))]
    assert 30 < len(kept) < len(texts) - 10
    assert found == kept
    # Each that went is told with its like among those that stay, and how like it is.
    for row in StepLogReader(cleaning, "near_duplicates").page(0, 100):
        assert row["other"] in kept
        assert row["detail"]["value"] == round(similarity(row["before"], row["other"]), 4)


def test_hashes_of_n_grams_are_equal_when_the_n_grams_are() -> None:
    rng = random.Random(9)
    words = [rng.choice("abcdef") for _ in range(2000)]
    hashes = n_gram_hashes(word_hashes(words), 4).tolist()
    by_gram: dict[tuple[str, ...], int] = {}
    for place, value in enumerate(hashes):
        assert by_gram.setdefault(tuple(words[place : place + 4]), value) == value
    assert len(set(by_gram.values())) == len(by_gram)
    assert len(n_gram_hashes(word_hashes(["a", "b"]), 4)) == 1
    assert len(n_gram_hashes(word_hashes([]), 4)) == 0


def test_jaccard_is_exact() -> None:
    rng = random.Random(10)
    texts = varied(rng)
    for _ in range(200):
        one, other = rng.choice(texts), rng.choice(texts)
        assert jaccard(shingles(one, N), shingles(other, N)) == similarity(one, other)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.95])
def test_bands_reach_the_recall_and_no_more(threshold: float) -> None:
    bands, rows = bands_for(threshold, 128, 0.99)
    assert bands * rows <= 128
    assert 1 - (1 - threshold**rows) ** bands >= 0.99
    more = 128 // (rows + 1)
    assert 1 - (1 - threshold ** (rows + 1)) ** more < 0.99


def test_signatures_agree_as_often_as_the_texts_are_alike() -> None:
    from rensa import RMinHash

    rng = np.random.default_rng(11)
    num_perm, size, shared = 1024, 400, 300
    common = rng.integers(0, 2**63, shared, np.uint64)
    sets = [np.concatenate([common, rng.integers(0, 2**63, size - shared, np.uint64)]) for _ in range(2)]
    flat, offsets = np.concatenate(sets), np.array([0, size, 2 * size], np.uint64)
    rows = RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, num_perm, 1).to_rows()
    agreement = float(np.mean(np.array(rows[0]) == np.array(rows[1])))
    truth = shared / (2 * size - shared)
    # Five standard deviations of a binomial share.
    assert abs(agreement - truth) < 5 * (truth * (1 - truth) / num_perm) ** 0.5


def test_bands_are_equal_when_their_rows_are() -> None:
    one = np.arange(12, dtype=np.uint64)[None]
    other = one.copy()
    other[0, 5] = 99
    same = (banded(one, 4, 3) == banded(other, 4, 3))[:, 0].tolist()
    assert same == [True, False, True, True]


def test_all_pairs_of_a_bucket_and_of_a_large_one_those_with_its_first() -> None:
    hashes = np.array([7, 7, 7, 1, 2, 7], np.uint64)
    numbers = np.array([0, 1, 2, 3, 4, 5], np.uint64)
    assert sorted(agreeing(hashes, numbers, 100).tolist()) == [(1, 0), (2, 0), (2, 1), (5, 0), (5, 1), (5, 2)]
    assert agreeing(hashes, numbers, 1).tolist() == [(1, 0), (2, 0), (5, 0)]


def test_little_memory_finds_the_same(tmp_path: Path) -> None:
    texts = varied(random.Random(12))
    texts += texts[:5]
    path = write_lines(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    found = []
    for name in ("much", "little"):
        cleaning = make_cleaning(
            tmp_path / name,
            "text",
            f"data.sources=[{path}]",
            "order=[exact_duplicates, near_duplicates]",
            "executor.workers=1",
            "executor.shard_megabytes=0.03",
            "report.bias=false",
        )
        if name == "little":
            # The recipe takes no less than 16 MB, into which many more records fit.
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(near, "parts_for", lambda records, memory: 5)
                patch.setattr(exact, "parts_for", lambda records, memory: 3)
                patch.setattr(near, "SORTED", 100)
                run_cleaning(cleaning)
        else:
            run_cleaning(cleaning)
        found.append([row["text"] for row in rows_of(cleaning)])
    assert found[0] == found[1] and len(found[0]) < len(texts) - 5


def test_system_messages_do_not_make_copies() -> None:
    talk = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": [{"text": "Hello"}]}]
    assert Item({"messages": talk}, "conversation").compared == "Hello"
    assert Item({"messages": talk[:1]}, "conversation").compared == "Be kind."
    pair = {"prompt": talk, "completion": "Good day."}
    assert Item(pair, "prompt_completion").compared == "Hello\n\nGood day."


def test_questions_about_one_context_are_compared_by_themselves() -> None:
    rng = random.Random(3)
    context = prose(rng)
    asked, other = prose(rng, 1), prose(rng, 1)

    def of(question: str, text: str) -> Any:
        return near.compared(Item({"question": question, "context": text}, "span_extraction"), 5)

    assert jaccard(of(asked, context), of(asked.upper(), context + " ")) == 1
    assert jaccard(of(asked, context), of(other, context)) == 0
    assert jaccard(of(asked, context), of(asked, other)) == 0


def test_percent_is_a_share() -> None:
    assert load_cleaning("text", ["near_duplicates.threshold=85"]).near_duplicates.threshold == 0.85
