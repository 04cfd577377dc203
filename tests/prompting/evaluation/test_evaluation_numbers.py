"""Intervals and comparisons, against SciPy and against numbers worked out by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats

from workbench.errors import DataError
from workbench.prompting.evaluation.comparison import compare
from workbench.prompting.evaluation.intervals import bootstrapped, of_gain, of_mean
from workbench.prompting.evaluation.results import Cost, Result


def result(row: int, *scores: float, digest: str = "") -> Result:
    return Result(str(row), row, digest or f"d{row}", scores, len(scores) or 1, 1, Cost(), None)


@pytest.mark.parametrize("seed", [0, 5])
def test_the_interval_is_scipys(seed: int) -> None:
    scores = [1.0] * 37 + [0.0] * 63
    found = of_mean(scores, seed)
    wanted = stats.bootstrap(
        (np.array(scores),), np.mean, n_resamples=9999, method="BCa", rng=np.random.default_rng(seed)
    ).confidence_interval
    assert found is not None and found.method == "bootstrap, BCa" and found.note == ""
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert 0.26 < found.low < 0.30 < 0.45 < found.high < 0.48


def test_many_items_take_the_percentile_interval_and_little_time() -> None:
    scores = ([1.0] * 2 + [0.0] * 3) * 4_000
    found = of_mean(scores)
    assert found is not None and found.method == "bootstrap, percentile"
    half = 1.96 * (0.4 * 0.6 / 20_000) ** 0.5
    assert found.low == pytest.approx(0.4 - half, abs=half / 8)
    assert found.high == pytest.approx(0.4 + half, abs=half / 8)


@pytest.mark.parametrize(("right", "total"), [(0, 200), (200, 200), (3, 1000), (10, 20), (1, 1)])
def test_where_there_is_too_little_to_resample_the_interval_is_exact(right: int, total: int) -> None:
    found = of_mean([1.0] * right + [0.0] * (total - right))
    wanted = stats.binomtest(right, total).proportion_ci(0.95, method="exact")
    assert found is not None and found.method == "exact binomial" and found.note
    assert (found.low, found.high) == (wanted.low, wanted.high)


def test_none_right_of_200_is_not_nothing() -> None:
    found = of_mean([0.0] * 200)
    assert found is not None and found.low == 0.0
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 200))


def test_scores_in_between_are_resampled_and_few_are_said_to_be_rough() -> None:
    found = of_mean([0.0, 0.5, 0.25, 1.0])
    assert found is not None and found.method == "bootstrap, BCa" and "4 items" in found.note
    assert bootstrapped([0.5] * 40) is None and of_mean([0.5] * 3) is None
    assert of_mean([]) is None


def test_the_gains_interval_is_scipys_paired_one() -> None:
    first = [1.0, 0.0, 0.0, 1.0, 0.0] * 12
    second = [1.0, 1.0, 0.0, 0.0, 1.0] * 12
    found = of_gain(first, second, 3)

    def gain(one: np.ndarray, two: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(np.mean(two, axis=axis) - np.mean(one, axis=axis))

    wanted = stats.bootstrap(
        (np.array(first), np.array(second)),
        gain,
        paired=True,
        vectorized=True,
        n_resamples=9999,
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert found is not None and found.method == "paired bootstrap, BCa"
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert of_gain(first, first) is None


def test_a_comparison_by_hand() -> None:
    # Both right on 3 rows, only the second on 5, only the first on 1, neither on 2.
    first = [1, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0]
    second = [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]
    told = compare(
        [*(result(row, float(score)) for row, score in enumerate(first)), result(50, 1.0), result(60)],
        [*(result(row, float(score)) for row, score in enumerate(second)), result(70, 0.0)],
    )
    assert told["items"] == 11 and (told["only_in_first"], told["only_in_second"]) == (2, 1)
    assert told["first"]["accuracy"] == 4 / 11 and told["second"]["accuracy"] == 8 / 11
    assert told["difference"] == pytest.approx(4 / 11)
    assert told["table"] == {
        "both_right": 3,
        "only_second_better": 5,
        "only_first_better": 1,
        "both_wrong": 2,
        "both_in_part": 0,
    }
    # Two-sided, of 6 rows that only one got right: 2 × (C(6,0) + C(6,1)) / 2⁶.
    assert told["mcnemar"] == {"gained": 5, "lost": 1, "p": pytest.approx(14 / 64)}
    assert [pair["row"] for pair in told["differing"]] == [3, 4, 5, 6, 7, 8]
    assert "rough" in told["interval"]["note"]


def test_equal_evaluations_differ_in_nothing() -> None:
    same = [result(row, float(row % 2)) for row in range(10)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = compare(same, same)
    assert told["difference"] == 0 and told["interval"] is None and told["differing"] == []
    assert told["mcnemar"] == {"gained": 0, "lost": 0, "p": 1.0}


def test_scores_of_several_samples_have_no_mcnemar() -> None:
    told = compare([result(0, 1.0, 0.0), result(1, 0.0, 0.0)], [result(0, 1.0, 1.0), result(1, 0.0, 0.0)])
    assert told["mcnemar"] is None and told["difference"] == 0.25
    told = compare([result(0, 1.0, 0.0)], [result(0, 0.0, 1.0)])
    assert told["table"]["both_in_part"] == 1


def test_rows_that_only_have_the_id_in_common_are_no_pairs() -> None:
    with pytest.raises(DataError, match="no scored item in common"):
        compare([result(0, 1.0, digest="a")], [result(0, 1.0, digest="b")])
