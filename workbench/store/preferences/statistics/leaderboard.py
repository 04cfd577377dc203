"""How strong models are by what people preferred: Bradley–Terry and Plackett–Luce, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from workbench.store.preferences.judgements import UNKNOWN, Judgement
from workbench.store.preferences.statistics.bootstrap import CONFIDENCE, Interval, draws
from workbench.store.preferences.statistics.choices import Choices, as_choices, fit, model_names

Method = Literal["bradley-terry", "plackett-luce"]
Floats = npt.NDArray[np.float64]

PRIOR_WINS = 0.1
"""Wins that any two comparable models are given against each other at the outset. Without them a model that
never lost would be infinitely strong, and so would many be in some draws of the bootstrap."""
ELO_MEAN, ELO_SCALE = 1000.0, 400.0 / math.log(10.0)
"""400 points are odds of ten to one, as in Elo's ratings of chess players."""


@dataclass(frozen=True)
class Standing:
    """One model: its log-`strength`, the same as `elo`, and how it fared against other models in pairs.

    Strengths compare within a `group` only, where their mean is 0 (1000 on Elo's scale).
    """

    model: str
    group: int
    strength: Interval
    elo: Interval
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True)
class Leaderboard:
    """Models, the strongest first within each group, over `items`. `notices` are sentences on what limits
    it, such as groups of models that were never compared with each other."""

    method: Method
    items: int
    judgements: int
    standings: tuple[Standing, ...]
    groups: tuple[tuple[str, ...], ...]
    notices: tuple[str, ...]


def leaderboard(
    judgements: Sequence[Judgement],
    method: Method = "bradley-terry",
    *,
    resamples: int = 500,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Leaderboard:
    """How strong each model is, with percentile intervals from drawing items with replacement.

    Bradley and Terry (1952) on all pairs of answers, fitted by I-LSR (Maystre and Grossglauser 2015); Luce
    (1959) and Plackett (1975) on whole rankings. A tie is half a win each. Only a first judgement counts,
    and of an item's answers by the same model none is compared with another.
    """
    first = [j for j in judgements if (j.occasion == 0 or j.annotator == UNKNOWN) and len(set(j.models)) > 1]
    models = model_names(first)
    choices = as_choices(_as_pairs(first) if method == "bradley-terry" else first, models)
    items = choices.weights.shape[0]
    if not models:
        why = "nothing was ranked yet" if not judgements else "no answers of different models were compared"
        return Leaderboard(method, 0, 0, (), (), (why,))
    groups, notices = _groups(choices, models)
    solve = _bradley_terry(choices, groups) if method == "bradley-terry" else _plackett_luce(choices, groups)
    value = solve(np.ones(items))
    drawn = np.stack([solve(times) for times in draws(items, resamples, np.random.default_rng(seed))])
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    errors = drawn.std(0, ddof=1)
    fared = _fared(first, models)
    standings = [
        Standing(
            model,
            groups[n],
            Interval(float(value[n]), float(low[n]), float(high[n]), float(errors[n])),
            _elo(float(value[n]), float(low[n]), float(high[n]), float(errors[n])),
            *fared[n],
        )
        for n, model in enumerate(models)
    ]
    standings.sort(key=lambda standing: (standing.group, -standing.strength.value, standing.model))
    members = tuple(
        tuple(standing.model for standing in standings if standing.group == group)
        for group in sorted(set(groups))
    )
    return Leaderboard(method, items, len(first), tuple(standings), members, tuple(notices))


def _elo(value: float, low: float, high: float, error: float) -> Interval:
    value, low, high = (ELO_MEAN + ELO_SCALE * end for end in (value, low, high))
    return Interval(value, low, high, ELO_SCALE * error)


def _as_pairs(judgements: Sequence[Judgement]) -> list[Judgement]:
    """Every two answers of different models as a judgement of their own."""
    found: list[Judgement] = []
    for j in judgements:
        top = min(j.ranks)
        for a in range(len(j.ranks)):
            for b in range(a):
                losers = j.kind == "best-only" and top not in (j.ranks[a], j.ranks[b])
                if j.models[a] != j.models[b] and not losers:
                    places = (a, b)
                    found.append(
                        Judgement(
                            j.item,
                            j.annotator,
                            tuple(j.answers[n] for n in places),
                            tuple(j.models[n] for n in places),
                            tuple(j.ranks[n] for n in places),
                        )
                    )
    return found


def _fared(judgements: Sequence[Judgement], models: Sequence[str]) -> list[tuple[int, int, int]]:
    """Wins, losses and ties of each model in pairs."""
    number = {model: index for index, model in enumerate(models)}
    table = np.zeros((len(models), 3), int)
    for pair in _as_pairs(judgements):
        one, other = (number[model] for model in pair.models)
        order = (pair.ranks[0] > pair.ranks[1]) - (pair.ranks[0] < pair.ranks[1])
        table[one, (0, 2, 1)[order + 1]] += 1
        table[other, (1, 2, 0)[order + 1]] += 1
    return [(int(row[0]), int(row[1]), int(row[2])) for row in table]


def _groups(choices: Choices, models: Sequence[str]) -> tuple[list[int], list[str]]:
    """The group of each model, within which all are compared through others, and what is to be said.

    Strengths are finite without the prior only where one can go from each model to each by wins (Ford 1957).
    """
    from scipy.sparse.csgraph import connected_components

    passed_over = np.zeros((len(models), len(models)))
    np.add.at(passed_over, choices.chosen, choices.offered)
    np.fill_diagonal(passed_over, 0)
    count, weak = connected_components(passed_over, connection="weak")
    strongly, strong = connected_components(passed_over, connection="strong")
    notices: list[str] = []
    if count > 1:
        parts = "; ".join(
            ", ".join(model for model, group in zip(models, weak, strict=True) if group == part)
            for part in range(count)
        )
        notices.append(f"these were never compared with each other, so each has a scale of its own: {parts}")
    if strongly > count:
        apart = [
            model
            for n, model in enumerate(models)
            if np.sum(strong == strong[n]) < np.sum(weak == weak[n]) and _one_sided(passed_over, strong, n)
        ]
        notices.append(
            f"some never won, or never lost, against all others, so that only the {PRIOR_WINS} wins given to "
            f"each pair bound the differences: {', '.join(apart)}"
        )
    return [int(group) for group in weak], notices


def _one_sided(passed_over: Floats, strong: npt.NDArray[np.int32], model: int) -> bool:
    """Whether the strongly connected part of a model has only wins or only losses against all outside."""
    inside = strong == strong[model]
    won, lost = passed_over[inside][:, ~inside].sum(), passed_over[~inside][:, inside].sum()
    return bool((won > 0) != (lost > 0))


def _prior_pairs(groups: Sequence[int]) -> list[tuple[int, int]]:
    return [
        (a, b) for a in range(len(groups)) for b in range(len(groups)) if a != b and groups[a] == groups[b]
    ]


def _bradley_terry(choices: Choices, groups: Sequence[int]) -> Callable[[Floats], Floats]:
    import choix

    count = choices.offered.shape[1]
    losers = np.argmax(choices.offered - np.eye(count)[choices.chosen], axis=1)
    inside = [np.flatnonzero(np.asarray(groups) == group) for group in sorted(set(groups))]

    def solve(times: Floats) -> Floats:
        wins, strengths = np.zeros((count, count)), np.zeros(count)
        np.add.at(wins, (choices.chosen, losers), times @ choices.weights)
        for members in inside:
            if len(members) > 1:
                given = PRIOR_WINS * (1 - np.eye(len(members)))
                found = choix.ilsr_pairwise_dense(wins[np.ix_(members, members)] + given, max_iter=1000)
                strengths[members] = found - found.mean()
        return strengths

    return solve


def _plackett_luce(choices: Choices, groups: Sequence[int]) -> Callable[[Floats], Floats]:
    """Not through choix, whose rankings have no weights: ties, the prior and the bootstrap need them."""
    prior = _prior_pairs(groups)
    count = choices.offered.shape[1]
    given = np.zeros((len(prior), count))
    for row, pair in enumerate(prior):
        given[row, list(pair)] = 1.0
    offered = np.concatenate([choices.offered, given])
    chosen = np.concatenate([choices.chosen, np.array([winner for winner, _ in prior], np.int64)])

    def fitted(times: Floats, start: Floats | None = None) -> Floats:
        weights = np.concatenate([times @ choices.weights, np.full(len(prior), PRIOR_WINS)])
        used = weights > 0
        return fit(offered[used], chosen[used], weights[used], groups, start)

    # Every draw is close to the whole: from there it takes half of the steps.
    whole = fitted(np.ones(choices.weights.shape[0]))

    def solve(times: Floats) -> Floats:
        return fitted(times, whole)

    return solve
