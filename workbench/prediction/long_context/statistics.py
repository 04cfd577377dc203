"""Means over documents, with how sure they are: windows of one document say much the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 1000
COVERED = 0.95
WILSON = 1.959963984540054
"""Standard deviations of the normal distribution that 95 % lie within."""


def clustered_mean(sums: Floats, counts: Floats, seed: int = 0) -> dict[str, float | None]:
    """The mean of all values, given their sums and counts by document, and the 95 % interval of a bootstrap
    over documents (Efron & Tibshirani 1993, chapter 13); no interval for a single document."""
    total = float(counts.sum())
    found: dict[str, float | None] = {"mean": float(sums.sum()) / total, "low": None, "high": None}
    if len(sums) > 1:
        drawn = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
        means = sums[drawn].sum(1) / counts[drawn].sum(1)
        found["low"], found["high"] = np.quantile(means, [(1 - COVERED) / 2, (1 + COVERED) / 2]).tolist()
    return found


def by_document(values: Floats, documents: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Sums and counts by document of values [N, k] of N windows."""
    known, place = np.unique(documents, return_inverse=True)
    sums, counts = np.zeros(len(known)), np.zeros(len(known))
    np.add.at(sums, place, values.sum(1))
    np.add.at(counts, place, float(values.shape[1]))
    return sums, counts


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    share, spread = hits / trials, WILSON**2 / trials
    middle = (share + spread / 2) / (1 + spread)
    half = WILSON * ((share * (1 - share) + spread / 4) / trials) ** 0.5 / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_of(values: Floats, documents: NDArray[np.int64]) -> dict[str, Any]:
    """The mean negative log-likelihood of values [N, k], its interval, and how many tokens it is of."""
    found = clustered_mean(*by_document(values, documents))
    return {"nll": found["mean"], "low": found["low"], "high": found["high"], "tokens": int(values.size)}
