"""Copies against all pairs compared one by one, with sets of strings instead of hashes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.cleaning.conftest import make_cleaning, prose, rows_of, run_cleaning, write_lines
from workbench.data.cleaning import stages
from workbench.data.cleaning.copies import exact, near, runs
from workbench.data.cleaning.copies.near import agreeing, banded, bands_for
from workbench.data.cleaning.items import Item
from workbench.data.cleaning.steps.boilerplate import COUNTS, Boilerplate
from workbench.data.cleaning.words import jaccard, n_gram_hashes, plain_words, shingles, word_hashes
from workbench.errors import RecipeError
from workbench.recipe.cleaning import load_cleaning
from workbench.recipe.cleaning.quality import BoilerplateStep
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


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_all_pairs_of_a_bucket_and_of_a_large_one_those_with_its_first(at_once: int) -> None:
    hashes = np.array([7, 7, 7, 1, 2, 7, 2], np.uint64)
    numbers = np.array([0, 1, 2, 3, 4, 5, 6], np.uint64)

    def pairs(most: int) -> list[Any]:
        parts = list(agreeing(hashes, numbers, most, at_once))
        assert all(len(part) <= at_once for part in parts)
        return sorted(pair for part in parts for pair in part.tolist())

    assert pairs(100) == [(1, 0), (2, 0), (2, 1), (5, 0), (5, 1), (5, 2), (6, 4)]
    assert pairs(1) == [(1, 0), (2, 0), (5, 0), (6, 4)]
    assert not list(agreeing(hashes[:0], numbers[:0], 100, at_once))


def test_runs_of_pairs_come_back_in_order_and_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    wanted = set()
    for rank in range(3):
        writer = runs.Runs(tmp_path, rank, most=50)
        for _ in range(20):
            pairs = np.empty(17, runs.PAIR)
            # Beyond 2^53, where a float would not tell neighbours apart.
            pairs["later"] = rng.integers(0, 60, 17).astype(np.uint64) + np.uint64(2**60)
            pairs["earlier"] = rng.integers(0, 9, 17)
            wanted |= set(pairs.tolist())
            writer.add(pairs)
        writer.close()
    paths = sorted(tmp_path.glob("*.npy"))
    assert len(paths) > 9 and all(len(np.load(path)) <= 50 + 17 for path in paths)
    found = list(runs.slices(paths, 2**60 + 10, 2**60 + 40, most=40))
    assert [pair for part in found for pair in part.tolist()] == sorted(
        pair for pair in wanted if 2**60 + 10 <= pair[0] < 2**60 + 40
    )
    # Duplicates between the files are counted before they go; one record is never torn apart.
    assert len(found) > 5 and all(len(part) <= 40 or len(set(part["later"])) == 1 for part in found)


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
                patch.setattr(stages, "most_pairs", lambda memory: 7)
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


def test_a_recall_out_of_reach_is_said() -> None:
    with pytest.raises(
        RecipeError, match="128 hash functions find at most 92% of the pairs at threshold 0.02"
    ):
        load_cleaning("text", ["near_duplicates.threshold=0.02"])


def test_percent_is_a_share() -> None:
    assert load_cleaning("text", ["near_duplicates.threshold=85"]).near_duplicates.threshold == 0.85


@pytest.mark.parametrize(
    ("kind", "column", "labels"),
    [
        ("classification", "label", ("good", "bad")),
        ("regression", "label", (0.5, 0.75)),
        ("binary_feedback", "label", (True, False)),
        ("ranking", "ranks", ([1, 2], [2, 1])),
        ("tagging", "tags", ([0, 1], [1, 0])),
        ("span_extraction", "answers", ({"text": ["a"]}, {"text": ["b"]})),
    ],
)
def test_another_label_makes_another_record(kind: str, column: str, labels: tuple[Any, Any]) -> None:
    text = prose(random.Random(6))
    values: dict[str, Any] = dict.fromkeys(("text", "prompt", "completion", "question", "context"), text)
    values |= {"completions": [text, text], "tokens": text.split()}
    one, same, other = (Item({**values, column: label}, kind) for label in (labels[0], *labels))
    assert jaccard(near.compared(one, 5), near.compared(same, 5)) == 1
    assert jaccard(near.compared(one, 5), near.compared(other, 5)) == 0
    hashes = [exact.text_hash(item.text, True, item.label) for item in (one, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(("other", "left"), [("keep", [0, 1, 4]), ("drop", [0, 4])])
def test_contradictory_labels_stay_or_are_told(tmp_path: Path, other: str, left: list[int]) -> None:
    text, another = prose(random.Random(1)), prose(random.Random(2))
    records = [(text, "good"), (text, "bad"), (text, "good"), (text.upper(), "bad"), (another, "good")]
    path = write_lines(
        tmp_path / "a.jsonl",
        [{"text": text, "label": label, "n": n} for n, (text, label) in enumerate(records)],
    )
    cleaning = make_cleaning(
        tmp_path / "c",
        "text",
        f"data.sources=[{path}]",
        "order=[exact_duplicates, near_duplicates]",
        f"exact_duplicates.other_label={other}",
        "executor.workers=1",
        "report.bias=false",
    )
    assert [row["n"] for row in rows_of(run_cleaning(cleaning))] == left
    reasons = [row["reason"] for row in StepLogReader(cleaning, "exact_duplicates").page(0, 9)]
    told = "contradictory" if other == "drop" else "duplicate"
    assert reasons == (["contradictory"] if other == "drop" else []) + ["duplicate", told]


@pytest.mark.parametrize(("other", "left"), [("keep", [0, 1]), ("drop", [0])])
def test_a_preference_turned_round_stays_or_is_told(tmp_path: Path, other: str, left: list[int]) -> None:
    prompt, good, bad = (prose(random.Random(n), 2) for n in range(3))
    records = [(good, bad), (bad, good), (good.upper(), bad), (bad.upper(), f" {good}")]
    path = write_lines(
        tmp_path / "a.jsonl",
        [
            {"prompt": prompt, "chosen": chosen, "rejected": rejected, "n": n}
            for n, (chosen, rejected) in enumerate(records)
        ],
    )
    cleaning = make_cleaning(
        tmp_path / "c",
        "text",
        f"data.sources=[{path}]",
        "order=[exact_duplicates]",
        f"exact_duplicates.other_label={other}",
        "executor.workers=1",
        "report.bias=false",
    )
    assert [row["n"] for row in rows_of(run_cleaning(cleaning))] == left
    reasons = [row["reason"] for row in StepLogReader(cleaning, "exact_duplicates").page(0, 9)]
    told = {"keep": ["duplicate", "duplicate"], "drop": ["contradictory", "duplicate", "contradictory"]}
    assert reasons == told[other]


def test_a_word_more_makes_no_other_record_of_tags() -> None:
    tokens = prose(random.Random(8), 20).split()
    tags = ["B", "I", *["O"] * (len(tokens) - 2)]
    one, longer, other = (
        near.compared(Item({"tokens": words, "tags": marks}, "tagging"), 5)
        for words, marks in (
            (tokens, tags),
            ([*tokens, "indeed"], [*tags, "O"]),
            (tokens, ["O", "O", *tags[2:]]),
        )
    )
    assert jaccard(one, longer) > 0.9 and jaccard(one, other) == 0


def test_what_is_searched_lies_as_numpy_searches_it(tmp_path: Path) -> None:
    """Else it makes a copy of the whole column for each search."""
    for kind, column in ((exact.PAIRS, "gone"), (runs.PAIR, "later")):
        assert np.zeros(3, kind)[column].flags.aligned
    np.save(tmp_path / "00000.npy", np.zeros(3, COUNTS))
    assert Boilerplate(BoilerplateStep(), tmp_path).hashes.flags.c_contiguous


def test_a_preference_turned_round_is_no_copy() -> None:
    rng = random.Random(7)
    prompt, good, bad = prose(rng, 1), prose(rng), prose(rng)
    one, turned = (
        Item({"prompt": prompt, "chosen": a, "rejected": b}, "preference")
        for a, b in ((good, bad), (bad, good))
    )
    assert jaccard(near.compared(one, 5), near.compared(one, 5)) == 1
    assert jaccard(near.compared(one, 5), near.compared(turned, 5)) < 0.2
