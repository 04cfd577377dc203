"""What to rank next: the items of which scores tell least who will win."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

Scored = Sequence[float] | Sequence[tuple[float, float]]
"""The score of each answer, in units in which a difference is the log-odds of being preferred; or each
with its standard error."""


def uncertainty(scores: Scored) -> float:
    """How open an order is, in bits: the mean over pairs of the entropy of who is preferred, 0 to 1.

    The probability is σ(Δ), or with standard errors σ(Δ / √(1 + π(e₁² + e₂²)/8)), its mean over a normal
    error (MacKay 1992, The evidence framework applied to classification networks, eq. 10).
    """
    pairs = list(combinations([_with_error(score) for score in scores], 2))
    if not pairs:
        return 0.0
    return sum(_entropy(first, second) for first, second in pairs) / len(pairs)


def by_uncertainty(items: Mapping[int, Scored]) -> list[int]:
    """The numbers of items, those whose order is most open first; those without a pair last, equal ones in
    their order."""
    return sorted(items, key=lambda item: (len(items[item]) < 2, -uncertainty(items[item]), item))


def _with_error(score: float | tuple[float, float]) -> tuple[float, float]:
    return (float(score[0]), float(score[1])) if isinstance(score, tuple) else (float(score), 0.0)


def _entropy(first: tuple[float, float], second: tuple[float, float]) -> float:
    variance = first[1] ** 2 + second[1] ** 2
    difference = abs(first[0] - second[0]) / math.sqrt(1 + math.pi * variance / 8)
    if not math.isfinite(difference):
        return 1.0 if math.isnan(difference) else 0.0
    # Of the loser, so that what is close to 1 loses no digits.
    loses = math.exp(-difference) / (1 + math.exp(-difference))
    return -(loses * math.log2(loses) if loses else 0.0) - (1 - loses) * math.log1p(-loses) / math.log(2)
