"""Ranks: whole numbers, 1 the best, equal ones a tie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

FEWEST_ANSWERS, MOST_ANSWERS = 2, 9
"""How many answers an item may have: as many as there are keys for."""


def dense(ranks: Sequence[float]) -> tuple[int, ...]:
    """The same order with no rank left out: 1, 2, 2, 4 becomes 1, 2, 2, 3."""
    numbers = {rank: number for number, rank in enumerate(sorted(set(ranks)), 1)}
    return tuple(numbers[rank] for rank in ranks)


def middle(ranks: Sequence[float]) -> tuple[float, ...]:
    """The same order, the tied at the mean of the places they share: 1, 2, 2, 4 becomes 1, 2.5, 2.5, 4."""
    return tuple(
        1.0 + sum(other < rank for other in ranks) + (sum(other == rank for other in ranks) - 1) / 2
        for rank in ranks
    )


def all_tied(ranks: Sequence[int]) -> bool:
    """Whether nothing is preferred to anything."""
    return len(set(ranks)) <= 1


def best(ranks: Sequence[int]) -> int | None:
    """The number of the answer that is alone at the top, None where several share it."""
    top = min(ranks)
    return ranks.index(top) if list(ranks).count(top) == 1 else None


def preferred_pairs(ranks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The numbers (better, worse) of every two answers that are not tied: C(k, 2) of k without ties."""
    for first, second in combinations(range(len(ranks)), 2):
        if ranks[first] < ranks[second]:
            yield first, second
        elif ranks[second] < ranks[first]:
            yield second, first


def relation(ranks: Sequence[int], first: int, second: int) -> int:
    """1 where the first is better than the second, −1 where it is worse, 0 for a tie."""
    return (ranks[first] < ranks[second]) - (ranks[first] > ranks[second])
