"""The coefficient of KL, fixed and adaptive."""

from __future__ import annotations

import math

import pytest

from workbench.errors import CheckpointError, RecipeError, TrainingError
from workbench.objectives.ppo.kl_controller import AdaptiveKL, FixedKL, KLController


@pytest.mark.parametrize(
    ("kl", "expected"),
    [
        (6.0, 0.1),
        (6.6, 0.1 * (1 + 0.1 * 256 / 10000)),
        (600.0, 0.1 * (1 + 0.2 * 256 / 10000)),
        (-3.0, 0.1 * (1 - 0.2 * 256 / 10000)),
    ],
)
def test_one_step(kl: float, expected: float) -> None:
    controller = AdaptiveKL(0.1, target=6.0, horizon=10000)
    controller.update(kl, 256)
    assert controller.coefficient == pytest.approx(expected, rel=1e-14)


def test_it_steers_to_the_target() -> None:
    """A policy whose KL is in inverse proportion to β settles where KL is the target."""
    controller = AdaptiveKL(1.0, target=6.0, horizon=1000)
    for _ in range(400):
        controller.update(0.9 / controller.coefficient, 100)
    assert 0.9 / controller.coefficient == pytest.approx(6.0, rel=1e-6)


def test_a_resumed_controller_goes_on_as_it_was() -> None:
    first, second = AdaptiveKL(0.1, 6.0, 1000), AdaptiveKL(0.5, 6.0, 1000)
    first.update(7.0, 64)
    second.load_state_dict(first.state_dict())
    for controller in (first, second):
        controller.update(5.0, 64)
    assert first == second
    with pytest.raises(CheckpointError, match="nan"):
        second.load_state_dict({"coefficient": math.nan})


def test_fixed_stays() -> None:
    controller: KLController = FixedKL(0.05)
    controller.update(1000.0, 64)
    controller.load_state_dict({"coefficient": 3.0})
    assert controller.coefficient == 0.05 and controller.state_dict() == {"coefficient": 0.05}


def test_what_cannot_be() -> None:
    for arguments in ((0.0, 6.0, 100.0), (0.1, 0.0, 100.0), (0.1, 6.0, -1.0), (math.nan, 6.0, 100.0)):
        with pytest.raises(RecipeError, match="kl_"):
            AdaptiveKL(*arguments)
    with pytest.raises(RecipeError, match="kl_coef"):
        FixedKL(-0.1)
    with pytest.raises(TrainingError, match="nan"):
        AdaptiveKL(0.1, 6.0, 1000).update(math.nan, 64)
    with pytest.raises(RecipeError, match="0 or below"):
        AdaptiveKL(0.1, 6.0, 10).update(0.0, 64)
