"""Whether a reward model is right as often as it says: reliability over pairs of answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CalibrationBin:
    """Pairs whose confidence lies between `low` and `high`: how many, what was claimed, what was true."""

    low: float
    high: float
    pairs: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """Bins that have pairs, in order, and the expected calibration error: the mean distance between
    confidence and accuracy, weighted by pairs. 0 is perfect; NaN without pairs."""

    bins: list[CalibrationBin]
    expected_error: float


def calibration(differences: Tensor, bins: int = 10) -> Calibration:
    """Reliability from differences r_w − r_l [N].

    The model's confidence is σ(|r_w − r_l|), from ½ to 1, in the answer it prefers; it was right where the
    difference is above 0, and half right where it is 0. Bins of equal width. Source: Guo et al. 2017, "On
    Calibration of Modern Neural Networks", equation 3.
    """
    differences = differences.double()
    confidence = differences.abs().sigmoid()
    right = 0.5 * (1 + differences.sign())
    places = ((confidence - 0.5) * 2 * bins).long().clamp(max=bins - 1)
    count = torch.bincount(places, minlength=bins)
    claimed = torch.bincount(places, confidence, bins)
    true = torch.bincount(places, right, bins)
    found = [
        CalibrationBin(
            0.5 + i / bins / 2, 0.5 + (i + 1) / bins / 2, n, float(claimed[i]) / n, float(true[i]) / n
        )
        for i, n in enumerate(count.tolist())
        if n
    ]
    total = differences.numel()
    error = float((claimed - true).abs().sum()) / total if total else float("nan")
    return Calibration(found, error)
