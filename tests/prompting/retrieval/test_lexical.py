"""Words as they are compared, BM25 on corpora where the answer is known, and the fusion of rankings."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from workbench.prompting.retrieval.fusion import reciprocal_rank_fusion
from workbench.prompting.retrieval.lexical import LexicalIndex
from workbench.prompting.retrieval.words import words


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("The Cats' stories", ["the", "cat", "story"]),
        ("glass bus series", ["glass", "bus", "sery"]),
        ("Crème BRÛLÉE", ["creme", "brulee"]),
        ("ﬁne ﬂow", ["fine", "flow"]),
        ("Straße", ["strasse"]),
        ("getHTTPResponse2", ["gethttpresponse2", "get", "http", "response", "2"]),
        ("snake_case", ["snake_case", "snake", "case"]),
        ("吾輩は猫", ["吾輩", "輩は", "は猫"]),
        ("猫cat", ["猫", "cat"]),
        ("한국어 текст", ["한국어", "текст"]),
        ("... -- !", []),
    ],
)
def test_words_are_folded(text: str, folded: list[str]) -> None:
    assert words(text) == folded


def test_bm25_scores_are_those_of_the_formula() -> None:
    texts = ["apple banana", "apple apple cherry date", "banana"]
    index = LexicalIndex.build(texts)
    lengths = [2, 4, 1]
    mean = sum(lengths) / 3

    def weight(frequency: int, documents: int, row: int) -> float:
        idf = math.log(1 + (3 - documents + 0.5) / (documents + 0.5))
        return idf * frequency / (frequency + 1.5 * (1 - 0.75 + 0.75 * lengths[row] / mean))

    hits = index.search("apple", 5)
    assert [row for row, _ in hits] == [1, 0]
    assert [score for _, score in hits] == pytest.approx([weight(2, 2, 1), weight(1, 2, 0)], rel=1e-5)
    [(row, score)] = index.search("apples, bananas!", 1)
    assert row == 0 and score == pytest.approx(2 * weight(1, 2, 0), rel=1e-5)


def test_only_texts_that_share_a_word_are_found_and_ties_go_by_row() -> None:
    index = LexicalIndex.build(["red", "blue", "", "red", "…", "red"])
    assert [row for row, _ in index.search("red", 10)] == [0, 3, 5]
    assert [row for row, _ in index.search("red", 2)] == [0, 3]
    assert index.search("green", 10) == []
    assert index.search("", 10) == []


def test_stop_words_count_only_in_a_query_of_nothing_else() -> None:
    index = LexicalIndex.build(["the who", "what is the capital of France", "Paris is a capital"])
    assert [row for row, _ in index.search("what is the capital", 5)] == [2, 1]
    assert index.search("the who", 5)[0][0] == 0


def test_texts_without_any_word_can_be_indexed() -> None:
    assert LexicalIndex.build(["…", "--"]).search("anything", 3) == []


def test_an_index_comes_back_from_disk_without_pickles(tmp_path: Path) -> None:
    texts = [f"text {number} about {'snow' if number % 7 == 0 else 'rain'}" for number in range(50)]
    index = LexicalIndex.build(texts)
    index.save(tmp_path / "index")
    assert LexicalIndex.load(tmp_path / "index").search("snow", 4) == index.search("snow", 4)
    for path in (tmp_path / "index").iterdir():
        assert path.suffix in (".npy", ".json")
        if path.suffix == ".npy":
            assert not np.load(path, allow_pickle=False).dtype.hasobject


def test_fusion_adds_reciprocal_ranks() -> None:
    rankings = {"bm25": [(7, 3.0), (5, 2.0), (1, 1.0)], "dense": [(5, 0.9), (2, 0.8), (7, 0.1)]}
    fused = reciprocal_rank_fusion(rankings, 3)
    # 5: 1/62 + 1/61; 7: 1/61 + 1/63; 2: 1/62; 1: 1/63
    assert [entry.item for entry in fused] == [5, 7, 2]
    assert [entry.score for entry in fused] == pytest.approx([1 / 62 + 1 / 61, 1 / 61 + 1 / 63, 1 / 62])
    assert fused[0].ranks == {"bm25": 2, "dense": 1}
    assert fused[0].scores == {"bm25": 2.0, "dense": 0.9}
    assert fused[2].ranks == {"dense": 2}


def test_fusion_breaks_ties_by_item() -> None:
    fused = reciprocal_rank_fusion({"a": [(9, 1.0)], "b": [(4, 1.0)]}, 2)
    assert [entry.item for entry in fused] == [4, 9]
    assert reciprocal_rank_fusion({"a": []}, 3) == []
