"""Draws: the same for a place, different for another, and of the distribution they are named after."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.data.draws import Draws


def test_a_place_has_its_own_numbers() -> None:
    assert (Draws(1, 2, 3).uniform(5) == Draws(1, 2, 3).uniform(5)).all()
    assert not (Draws(1, 2, 3).uniform(5) == Draws(1, 2, 4).uniform(5)).any()


def test_uniform_numbers_are_uniform() -> None:
    numbers = Draws(0).uniform(50_000)
    assert numbers.min() >= 0 and numbers.max() < 1
    assert np.histogram(numbers, 10, (0, 1))[0] == pytest.approx(5000, rel=0.06)


def test_whole_numbers_and_permutations_cover_their_range() -> None:
    assert set(Draws(5).integers(1000, 7).tolist()) == set(range(7))
    assert sorted(Draws(5).permutation(50).tolist()) == list(range(50))


@pytest.mark.parametrize("mean", [0.5, 3.0, 20.0])
def test_poisson_numbers_have_mean_and_variance_alike(mean: float) -> None:
    numbers = Draws(9).poisson(40_000, mean)
    assert numbers.mean() == pytest.approx(mean, rel=0.03)
    assert numbers.var() == pytest.approx(mean, rel=0.05)
