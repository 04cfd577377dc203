"""Rankings of models as choices: which models stood to choose from, and which was taken.

A Plackett–Luce ranking is a row of choices, each of the best of what is left; a pair is one choice of two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.store.preferences.judgements import Judgement

Floats = npt.NDArray[np.float64]
Choice = tuple[tuple[int, ...], int]
"""The models to choose from, in order and as often as they are there, and the one that was chosen."""


@dataclass(frozen=True)
class Choices:
    """Distinct choices among models: `offered` says how often each model is there [choices, models],
    `chosen` which was taken [choices], and `weights` how often in each item, sparse [items, choices]."""

    offered: Floats
    chosen: npt.NDArray[np.int64]
    weights: Any


def model_names(judgements: Sequence[Judgement]) -> list[str]:
    """All models that are compared, by name."""
    return sorted({model for judgement in judgements for model in judgement.models})


def as_choices(judgements: Sequence[Judgement], models: Sequence[str]) -> Choices:
    """The choices that judgements are made of, under the items that they are about.

    Of tied answers each order is as likely as the others, so that two of them are half a win each. The
    losers of a best-only judgement were not compared, and say nothing.
    """
    from scipy.sparse import csr_array

    number = {model: index for index, model in enumerate(models)}
    of_item: dict[int, Counter[Choice]] = {}
    for judgement in judgements:
        counts = of_item.setdefault(judgement.item, Counter())
        left = [number[model] for model in judgement.models]
        for group, last in _groups(judgement):
            tied = [number[judgement.models[index]] for index in group]
            if not (last and judgement.kind == "best-only"):
                _add(counts, left, tied)
            for model in tied:
                left.remove(model)
    distinct = sorted({choice for counts in of_item.values() for choice in counts})
    column = {choice: index for index, choice in enumerate(distinct)}
    offered, chosen = np.zeros((len(distinct), len(models))), np.zeros(len(distinct), np.int64)
    for index, (among, taken) in enumerate(distinct):
        np.add.at(offered[index], list(among), 1.0)
        chosen[index] = taken
    # Nearly all of it is zero: 5,000 items of 20 models would take a gigabyte.
    entries = [
        (weight, row, column[choice])
        for row, counts in enumerate(of_item.values())
        for choice, weight in counts.items()
    ]
    values, rows, columns = zip(*entries, strict=True) if entries else ((), (), ())
    weights = csr_array((values, (rows, columns)), shape=(len(of_item), len(distinct)), dtype=np.float64)
    return Choices(offered, chosen, weights)


def _groups(judgement: Judgement) -> list[tuple[list[int], bool]]:
    """The numbers of the answers of each rank, the best first, and whether it is the last rank."""
    top = max(judgement.ranks)
    return [
        ([index for index, other in enumerate(judgement.ranks) if other == rank], rank == top)
        for rank in sorted(set(judgement.ranks))
    ]


def _add(counts: Counter[Choice], left: Sequence[int], tied: Sequence[int]) -> None:
    """The choices by which the tied are taken one by one, the mean over all orders of them."""
    rest = list(left)
    for model in tied:
        rest.remove(model)
    for taken in range(len(tied)):
        for gone in combinations(range(len(tied)), taken):
            there = [model for index, model in enumerate(tied) if index not in gone]
            among = tuple(sorted([*rest, *there]))
            if len(set(among)) > 1:
                for model in there:
                    counts[(among, model)] += 1.0 / (comb(len(tied), taken) * len(there))  # type: ignore[assignment]


def fit(
    offered: Floats,
    chosen: npt.NDArray[np.int64],
    weights: Floats,
    groups: Sequence[int],
    start: Floats | None = None,
) -> Floats:
    """The log-strengths of models that make weighted choices most likely, of mean 0 in each of `groups`.

    Newton's method on Σ w·(θ_chosen − log Σ offered·exp θ), which is concave. It must have a maximum: in
    each group, every model is both chosen over and passed over for every other, through others at most.
    """
    strengths = np.zeros(offered.shape[1]) if start is None else start
    taken = np.bincount(chosen, weights, minlength=len(strengths))
    # The likelihood does not know where zero is; this fixes the mean of each group.
    member = np.equal.outer(np.asarray(groups), np.asarray(groups)).astype(float)

    def likelihood(at: Floats) -> float:
        return float(taken @ at - weights @ np.log(offered @ np.exp(at)))

    now = likelihood(strengths)
    for _ in range(100):
        shares = offered * np.exp(strengths)
        shares /= shares.sum(1, keepdims=True)
        weighted = weights[:, None] * shares
        gradient = taken - weighted.sum(0)
        curvature = np.diag(weighted.sum(0)) - shares.T @ weighted
        step = np.linalg.solve(curvature + member, gradient)
        length = 1.0
        while (then := likelihood(strengths + length * step)) < now and length > 1e-6:
            length /= 2
        strengths, now = strengths + length * step, then
        # Newton's error is the square of the step: after this one, below what a float tells apart.
        if np.abs(step).max() < 1e-6:
            break
    for group in set(groups):
        inside = np.asarray(groups) == group
        strengths[inside] -= strengths[inside].mean()
    return strengths
