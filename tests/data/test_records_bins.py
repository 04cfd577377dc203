"""Which rows go together: nothing lost, nothing too full, and few bins."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.data.records.bins import best_fit


@pytest.mark.parametrize("seed", range(5))
def test_every_row_once_and_none_too_full(seed: int) -> None:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 65, size=500)
    bins = best_fit(lengths, 64)
    assert sorted(place for members in bins for place in members) == list(range(500))
    fill = [int(lengths[members].sum()) for members in bins]
    assert max(fill) <= 64
    # Best fit decreasing needs at most 11/9 of the fewest bins, and one more (Johnson 1973).
    assert len(bins) <= 11 / 9 * np.ceil(lengths.sum() / 64) + 1


def test_the_number_of_bins_is_of_the_lengths_alone() -> None:
    generator = np.random.default_rng(1)
    lengths = generator.integers(1, 40, size=300)
    numbers = {len(best_fit(generator.permutation(lengths), 64)) for _ in range(5)}
    assert len(numbers) == 1


def test_the_tightest_place_is_taken() -> None:
    assert best_fit(np.array([6, 7, 3, 4]), 10) == [[1, 2], [0, 3]]
    assert best_fit(np.array([], dtype=np.int64), 10) == []
