"""One ranking out of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SMOOTHING = 60
"""The constant k of the paper: it found little difference between other values."""


@dataclass
class Fused:
    """An item with its fused score, and the rank (from 1) and score that each retriever gave it."""

    item: int
    score: float = 0.0
    ranks: dict[str, int] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


def reciprocal_rank_fusion(
    rankings: Mapping[str, Sequence[tuple[int, float]]], limit: int, smoothing: int = SMOOTHING
) -> list[Fused]:
    """The best `limit` items by the sum over retrievers of 1 / (smoothing + rank); ties by item number.

    Each ranking holds (item, score), best first. Cormack, Clarke and Büttcher, Reciprocal rank fusion
    outperforms Condorcet and individual rank learning methods, SIGIR 2009.
    """
    fused: dict[int, Fused] = {}
    for retriever, ranking in rankings.items():
        for rank, (item, score) in enumerate(ranking, 1):
            entry = fused.setdefault(item, Fused(item))
            entry.score += 1 / (smoothing + rank)
            entry.ranks[retriever], entry.scores[retriever] = rank, score
    return sorted(fused.values(), key=lambda entry: (-entry.score, entry.item))[:limit]
