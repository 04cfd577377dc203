"""Agreement between annotators: Krippendorff's alpha."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np
import numpy.typing as npt

from workbench.store.preferences.judgements import UNKNOWN, Judgement
from workbench.store.preferences.ranks import middle, relation
from workbench.store.preferences.statistics.bootstrap import Interval, bootstrap

Level = Literal["nominal", "ordinal", "interval"]
Units = Sequence[Sequence[float]]
"""The values that were given to each unit, by however many annotators."""


@dataclass(frozen=True)
class Agreement:
    """How far annotators agree on `items` that two or more of them judged: 1 fully, 0 as chance would.

    `ranks` is alpha at the ordinal level, a unit being one answer with its rank, the tied at the mean of
    their places. `pairs` is alpha at the nominal level, a unit being two answers, which are better, worse or
    tied. Each is None where it is not defined: nobody judged the same, or all values are one.
    """

    annotators: int
    items: int
    ranks: Interval | None
    pairs: Interval | None


def krippendorff_alpha(units: Units, level: Level = "nominal") -> float | None:
    """Krippendorff's alpha of values given to units; values that are missing are simply not there.

    Units with fewer than two values cannot be compared and do not count. None where nothing varies or
    nothing can be compared. Krippendorff (2011), Computing Krippendorff's Alpha-Reliability: with the
    coincidences o_ck of values c and k and the totals n_c of each,
    α = 1 − (n − 1)·Σ o_ck δ²_ck / Σ n_c n_k δ²_ck.
    """
    paired = [list(unit) for unit in units if len(unit) > 1]
    values = np.unique([value for unit in paired for value in unit])
    if len(values) < 2:
        return None
    return _alpha(np.stack([_coincidences(unit, values) for unit in paired]).sum(0), values, level)


def agreement(judgements: Sequence[Judgement], *, resamples: int = 1000, seed: int = 0) -> Agreement:
    """How far the annotators of judgements agree, with intervals by drawing items with replacement.

    Of each annotator and item the first occasion counts. Pairs are counted both ways round: which answer
    comes first in a pair is arbitrary, and what chance would give must not depend on it.
    """
    by_item: dict[int, dict[str, Judgement]] = {}
    for judgement in judgements:
        if judgement.occasion == 0 and judgement.annotator != UNKNOWN:
            by_item.setdefault(judgement.item, {})[judgement.annotator] = judgement
    shared = [of for of in by_item.values() if len(of) > 1]
    people = {annotator for of in shared for annotator in of}
    rng = np.random.default_rng(seed)
    return Agreement(
        len(people),
        len(shared),
        _interval([_rank_units(of) for of in shared], "ordinal", resamples, rng),
        _interval([_pair_units(of) for of in shared], "nominal", resamples, rng),
    )


def _rank_units(of: Mapping[str, Judgement]) -> Units:
    places = [dict(zip(j.answers, middle(j.ranks), strict=True)) for j in of.values()]
    return [[place[answer] for place in places if answer in place] for answer in places[0]]


def _pair_units(of: Mapping[str, Judgement]) -> Units:
    ranks = [judgement.rank_of for judgement in of.values()]
    return [
        [relation((rank[first], rank[second]), 0, 1) for rank in ranks if first in rank and second in rank]
        for first, second in permutations(ranks[0], 2)
    ]


def _interval(
    items: Sequence[Units], level: Level, resamples: int, rng: np.random.Generator
) -> Interval | None:
    """Alpha over all units of some items. The coincidences of each are counted once: they add up."""
    values = np.unique([value for units in items for unit in units for value in unit])
    if len(values) < 2:
        return None
    counts = np.stack(
        [np.sum([_coincidences(list(unit), values) for unit in units], axis=0) for units in items]
    ).reshape(len(items), -1)

    def alpha(times: npt.NDArray[np.float64]) -> float | None:
        return _alpha((times @ counts).reshape(len(values), len(values)), values, level)

    return bootstrap(alpha, len(items), resamples, rng)


def _coincidences(unit: Sequence[float], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How often each value meets each other in a unit of m values: all ordered pairs, over m − 1."""
    found = np.zeros((len(values), len(values)))
    if len(unit) > 1:
        times = np.bincount(np.searchsorted(values, unit), minlength=len(values)).astype(float)
        found = (np.outer(times, times) - np.diag(times)) / (len(unit) - 1)
    return found


def _alpha(
    coincidences: npt.NDArray[np.float64], values: npt.NDArray[np.float64], level: Level
) -> float | None:
    totals = coincidences.sum(0)
    difference = _squared_differences(totals, values, level)
    expected = float(totals @ difference @ totals)
    if expected <= 0:
        return None
    return 1.0 - (float(totals.sum()) - 1.0) * float((coincidences * difference).sum()) / expected


def _squared_differences(
    totals: npt.NDArray[np.float64], values: npt.NDArray[np.float64], level: Level
) -> npt.NDArray[np.float64]:
    if level == "nominal":
        return 1.0 - np.eye(len(values))
    # Two ordinal values are as far apart as there are values from the middle of one to that of the other.
    places = np.cumsum(totals) - totals / 2 if level == "ordinal" else values
    return np.asarray(np.subtract.outer(places, places) ** 2, np.float64)
