"""Scores of tasks against values worked out by hand or published."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.objectives import scores
from workbench.objectives.span_search import Span, best_spans, merge, probabilities


def test_classification() -> None:
    found = scores.classification_scores([0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 1, 0])
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["f1"] == pytest.approx((0.5 + 0.75) / 2)
    # Two true negatives' worth: (1·3 − 1·1) / √(2·4·2·4).
    assert found["matthews_correlation"] == pytest.approx(2 / 8)
    assert found["majority_accuracy"] == pytest.approx(4 / 6)


def test_one_label_alone_is_no_correlation_and_no_warning() -> None:
    found = scores.classification_scores([1, 1], [1, 1])
    assert (found["accuracy"], found["f1"], found["matthews_correlation"]) == (1, 1, 0)


def test_regression() -> None:
    found = scores.regression_scores([1.0, 2.0, 3.0], [2.0, 4.0, 9.0])
    assert found["spearman"] == pytest.approx(1)
    assert found["pearson"] == pytest.approx(7 / math.sqrt(2 * 26))
    assert found["mse"] == pytest.approx((1 + 4 + 36) / 3)
    assert found["mean_mse"] == pytest.approx(2 / 3)
    assert math.isnan(scores.regression_scores([1.0, 2.0], [3.0, 3.0])["pearson"])


def test_entities_count_whole_and_strict() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG", "I-ORG"]]
    #        right                     wrong type        end missed
    found = scores.tagging_scores(gold, [["B-PER", "I-PER", "O", "B-ORG"], ["O", "B-ORG", "O"]])
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert found["token_accuracy"] == pytest.approx(5 / 7)
    assert found["majority_token_accuracy"] == pytest.approx(2 / 7)
    # An entity that does not begin with B- is none.
    found = scores.tagging_scores([["B-PER", "I-PER"]], [["I-PER", "I-PER"]])
    assert (found["precision"], found["recall"], found["f1"]) == (0, 0, 0)


def test_sentences_are_kept_apart() -> None:
    found = scores.tagging_scores([["B-PER"], ["I-PER"]], [["B-PER"], ["I-PER"]])
    assert found["f1"] == 1
    lines = scores.per_entity([["B-PER", "O"], ["B-LOC"]], [["B-PER", "B-LOC"], ["B-LOC"]])
    assert [(line.label, line.precision, line.recall, line.support) for line in lines] == [
        ("LOC", 0.5, 1.0, 1),
        ("PER", 1.0, 1.0, 1),
    ]


def test_tags_that_are_no_entities_have_macro_scores() -> None:
    found = scores.tagging_scores([["DET", "NOUN"]], [["DET", "VERB"]])
    assert found["f1"] == pytest.approx(1 / 3)
    assert found["token_accuracy"] == 0.5


@pytest.mark.parametrize(
    ("answer", "gold", "exact", "f1"),
    [
        ("The  Eiffel Tower!", ["eiffel tower"], 1, 1),
        ("in 1889", ["1889", "the year 1889"], 0, 2 / 3),
        ("a cat sat", ["The cat sat down"], 0, 2 * 2 / (2 + 3)),
        ("x x y", ["x y y"], 0, 2 / 3),
        ("", [], 1, 1),
        ("something", [], 0, 0),
        ("the", ["a"], 1, 1),
    ],
)
def test_answers_as_squad_compares_them(answer: str, gold: list[str], exact: float, f1: float) -> None:
    assert scores.answer_scores(answer, gold) == pytest.approx((exact, f1))


def test_spans_are_averaged_over_questions() -> None:
    assert scores.span_scores([["a b"], ["c"]], ["b", "d"]) == {"exact_match": 0.5, "f1": 0.5}


def test_report_of_classes_and_confusion() -> None:
    gold, found = ["n", "n", "p"], ["n", "p", "p"]
    lines = scores.per_class(gold, found, ["n", "p"])
    assert [(line.label, line.precision, line.recall, line.support) for line in lines] == [
        ("n", 1.0, 0.5, 2),
        ("p", 0.5, 1.0, 1),
    ]
    assert scores.confusion(gold, found, ["n", "p"]) == [[1, 1], [0, 1]]


def test_best_spans_equal_a_search_of_all_pairs() -> None:
    generator = np.random.default_rng(0)
    offsets = np.array([[-1, -1]] * 3 + [[5 * n, 5 * n + 4] for n in range(12)] + [[-1, -1]])
    for _ in range(20):
        start, end = generator.normal(size=(2, 16))
        pairs = [
            Span(start[i] + end[j], offsets[i][0], offsets[j][1])
            for i in range(3, 15)
            for j in range(i, min(i + 4, 15))
        ]
        expected = sorted(pairs, key=lambda span: -span.score)[:5]
        found = best_spans(start, end, offsets, n_best=16, max_answer_tokens=4)[:5]
        assert [span[1:] for span in found] == [span[1:] for span in expected]
        assert [span.score for span in found] == pytest.approx([span.score for span in expected])


def test_windows_without_context_have_no_span_and_places_count_once() -> None:
    assert best_spans(np.zeros(2), np.zeros(2), np.full((2, 2), -1)) == []
    merged = merge([[Span(1.0, 0, 3), Span(0.5, 4, 6)], [Span(2.0, 4, 6)]])
    assert merged == [Span(2.0, 4, 6), Span(1.0, 0, 3)]
    assert sum(probabilities(merged, (0.0,))) == pytest.approx(1)
