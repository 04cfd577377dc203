"""Calibration of a reward model against values worked out by hand, and on pairs drawn from its beliefs."""

from __future__ import annotations

import math
from dataclasses import astuple

import pytest
import torch

from workbench.objectives.preference.calibration import calibration


def test_by_hand() -> None:
    # Confidence 0.85, right three times of four; 0.65, right once of two; undecided once.
    strong, weak = math.log(0.85 / 0.15), math.log(0.65 / 0.35)
    found = calibration(torch.tensor([strong, strong, -strong, strong, weak, -weak, 0.0]), bins=5)
    expected = [(0.5, 0.6, 1, 0.5, 0.5), (0.6, 0.7, 2, 0.65, 0.5), (0.8, 0.9, 4, 0.85, 0.75)]
    assert [astuple(part) for part in found.bins] == [pytest.approx(e, abs=1e-6) for e in expected]
    assert found.expected_error == pytest.approx((0.15 * 2 + 0.1 * 4) / 7, abs=1e-6)


def test_a_model_whose_beliefs_are_true_is_calibrated() -> None:
    generator = torch.Generator().manual_seed(0)
    differences = 2 * torch.randn(40000, generator=generator, dtype=torch.float64)
    wins_first = torch.rand(40000, generator=generator) < differences.sigmoid()
    found = calibration(torch.where(wins_first, differences, -differences))
    for part in found.bins:
        # Four standard errors.
        error = 4 * math.sqrt(part.confidence * (1 - part.confidence) / part.pairs)
        assert part.accuracy == pytest.approx(part.confidence, abs=error)
    # One twice as sure as it should be is not.
    assert calibration(2 * torch.where(wins_first, differences, -differences)).expected_error > 0.05
    assert math.isnan(calibration(torch.zeros(0)).expected_error)
