"""Whether annotators agree with themselves, and whether they judge what they see or where they see it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from workbench.store.preferences.judgements import UNKNOWN, Judgement
from workbench.store.preferences.ranks import best, relation
from workbench.store.preferences.statistics.bootstrap import CONFIDENCE, Interval


@dataclass(frozen=True)
class SelfAgreement:
    """What one annotator said when the same came again: `same` is the share of `items` that were ranked
    alike to the last tie, with an exact interval; `pairs` the share of all pairs of answers."""

    annotator: str
    items: int
    same: Interval
    pairs: float


@dataclass(frozen=True)
class PositionBias:
    """How often an answer won where it stood, among `items` of `answers` answers with one winner.

    `wins` has one entry for each place, the leftmost first; `expected` is the share that each place has
    without bias, for places are drawn; `p_value` is of that, by an exact binomial test of each place, the
    smallest multiplied by their number (Bonferroni).
    """

    answers: int
    items: int
    wins: tuple[Interval, ...]
    expected: float
    p_value: float


def share(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """A share with its exact binomial interval (Clopper and Pearson 1934); 0 to 1 of nothing."""
    from scipy.stats import binomtest

    if not trials:
        return Interval(float("nan"), 0.0, 1.0)
    found = binomtest(successes, trials).proportion_ci(confidence)
    value = successes / trials
    return Interval(value, float(found.low), float(found.high), (value * (1 - value) / trials) ** 0.5)


def self_agreement(judgements: Iterable[Judgement]) -> list[SelfAgreement]:
    """How far each annotator agrees with what they said before, by name; those without repetitions are
    left out."""
    told: dict[tuple[str, int], dict[int, Judgement]] = {}
    for judgement in judgements:
        if judgement.annotator != UNKNOWN:
            told.setdefault((judgement.annotator, judgement.item), {})[judgement.occasion] = judgement
    of: dict[str, list[tuple[Judgement, Judgement]]] = {}
    for (annotator, _), occasions in told.items():
        first, *others = (occasions[number] for number in sorted(occasions))
        of.setdefault(annotator, []).extend((first, other) for other in others)
    found: list[SelfAgreement] = []
    for annotator, repeats in sorted(of.items()):
        alike = [_alike(first, second) for first, second in repeats]
        if alike:
            same = share(sum(all(pairs) for pairs in alike), len(alike))
            every = [pair for pairs in alike for pair in pairs]
            found.append(SelfAgreement(annotator, len(alike), same, sum(every) / len(every)))
    return found


def _alike(first: Judgement, second: Judgement) -> list[bool]:
    """For every two answers, whether both judgements say the same of them."""
    one, other = first.rank_of, second.rank_of
    return [
        relation((one[a], one[b]), 0, 1) == relation((other[a], other[b]), 0, 1)
        for a, b in combinations(sorted(one.keys() & other.keys()), 2)
    ]


def position_bias(judgements: Sequence[Judgement]) -> list[PositionBias]:
    """How often each place wins, for each number of answers; judgements without one winner say nothing, nor
    do those of which it is not known how the answers stood."""
    winners: dict[int, list[int]] = {}
    for judgement in judgements:
        winner = best(judgement.ranks)
        if winner is not None and judgement.sides_known:
            winners.setdefault(len(judgement.ranks), []).append(winner)
    return [_bias(count, places) for count, places in sorted(winners.items())]


def _bias(count: int, places: Sequence[int]) -> PositionBias:
    from scipy.stats import binomtest

    wins = [places.count(place) for place in range(count)]
    # Of two places each win of one is a loss of the other: that is one test.
    tests = 1 if count == 2 else count
    smallest = min(binomtest(won, len(places), 1 / count).pvalue for won in wins)
    intervals = tuple(share(won, len(places)) for won in wins)
    return PositionBias(count, len(places), intervals, 1 / count, min(1.0, tests * float(smallest)))
