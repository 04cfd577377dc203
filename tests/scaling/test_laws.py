"""Laws as published, and what follows from them exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from workbench.errors import UsageError
from workbench.scaling.laws import REPEATED_TOKENS, KaplanLaw, Law, effective_tokens
from workbench.scaling.published import DEFAULT, find_law, published_laws

CHINCHILLA = 5.76e23


def law_called(name: str) -> Law:
    law = find_law(name).law
    assert isinstance(law, Law)
    return law


def tokens_a_parameter(law: Law) -> float:
    return float(law.optimal_tokens(CHINCHILLA) / law.optimal_parameters(CHINCHILLA))


def test_the_default_is_the_replication_and_gives_about_twenty_tokens_a_parameter() -> None:
    assert published_laws()[0].name == DEFAULT == "besiroglu"
    assert tokens_a_parameter(law_called(DEFAULT)) == pytest.approx(20, rel=0.1)


def test_the_rounded_set_as_printed_gives_93() -> None:
    assert tokens_a_parameter(law_called("hoffmann")) == pytest.approx(92.7, abs=0.1)


@pytest.mark.parametrize("name", [law.name for law in published_laws()])
def test_every_published_law_names_its_source(name: str) -> None:
    assert "et al. 20" in find_law(name).source


@pytest.mark.parametrize("name", ["besiroglu", "hoffmann", "muennighoff", "kaplan"])
def test_no_other_size_is_better_at_the_optimum(name: str) -> None:
    law = find_law(name).law
    best = float(law.optimal_parameters(1e20))
    for factor in (0.9, 1.1):
        other = law.loss(best * factor, 1e20 / 6 / (best * factor))
        assert float(law.optimal_loss(1e20)) < float(other)


def test_optimal_tokens_of_a_size_are_those_of_the_frontier() -> None:
    law = law_called("besiroglu")
    size = float(law.optimal_parameters(1e21))
    assert law.tokens_for(size) == pytest.approx(float(law.optimal_tokens(1e21)), rel=1e-12)
    assert law.parameters_for(law.tokens_for(size)) == pytest.approx(size, rel=1e-12)


def test_kaplan_without_limits_of_data_is_a_power_of_size() -> None:
    law = find_law("kaplan").law
    assert isinstance(law, KaplanLaw)
    assert float(law.loss(8.8e9, 1e300)) == pytest.approx((6.4e13 / 8.8e9) ** 0.076)


def test_tokens_seen_once_are_worth_themselves_and_repeats_less() -> None:
    assert effective_tokens(1e9, 2e9) == 1e9
    assert effective_tokens(1e9, 1e9) == 1e9
    few, many = effective_tokens([4e9, 1e14], 1e9)
    assert 3.7e9 < few < 4e9
    # Endless repeats are worth R*_D times the data.
    assert many == pytest.approx((1 + REPEATED_TOKENS) * 1e9)


def test_parameters_beyond_what_the_data_fills_are_worth_less() -> None:
    law = law_called("muennighoff")
    plain = Law(law.E, law.A, law.B, law.alpha, law.beta)
    fitting = law.parameters_for(1e9)
    assert law.loss_with_repeats(fitting, 1e9, 1e9) == pytest.approx(float(law.loss(fitting, 1e9)))
    assert law.loss_with_repeats(9 * fitting, 1e9, 1e9) > plain.loss_with_repeats(9 * fitting, 1e9, 1e9)


def test_a_law_of_ones_own_and_a_broken_one(home: Path) -> None:
    folder = home / "presets" / "scaling" / "laws"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("# Ours.\nE: 2\nA: 100\nB: 100\nalpha: 0.3\nbeta: 0.3\n")
    assert find_law("mine").source == "Ours."
    (folder / "mine.yaml").write_text("E: 2\nA: 100\nB: 100\nalpha: 0.3\n")
    with pytest.raises(UsageError, match="beta"):
        find_law("mine")
    (folder / "mine.yaml").unlink()
    with pytest.raises(UsageError) as caught:
        find_law("hofmann")
    assert caught.value.hint == "did you mean hoffmann?"


def test_losses_of_arrays_have_their_shape() -> None:
    law = law_called("besiroglu")
    assert law.loss(np.ones((3, 1)) * 1e9, np.ones(4) * 1e10).shape == (3, 4)
