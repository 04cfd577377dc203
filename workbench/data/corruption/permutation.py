"""Factorisation orders: which tokens are predicted, and in which order (Yang et al. 2019, XLNet)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.data.draws import Draws

CONTEXT = -1
"""The rank of a token that is not predicted: before all that are."""


def choose_spans(
    may_predict: NDArray[np.bool_], share: float, longest: int, draws: Draws
) -> NDArray[np.bool_]:
    """Choose `share` of the tokens [n] that may be predicted, rounded, at least one if there is one.

    They are chosen in spans of 1 … `longest` neighbours, k tokens with a chance in proportion to 1/k. Each
    span lies at random in a stretch of its own, about k / share tokens, so that what is predicted is
    spread over the row and has text around it (section 2.3 and the paper's code). What may not be
    predicted is not counted: a span that meets the end of a piece goes on in the next.
    """
    chosen = np.zeros(len(may_predict), np.bool_)
    places = np.flatnonzero(may_predict)
    if not len(places):
        return chosen
    budget = max(1, round(share * len(places)))
    chances = np.cumsum(1.0 / np.arange(1, longest + 1))
    drawn = 1 + np.searchsorted(chances, draws.uniform(budget) * chances[-1], "right")
    count = int(np.searchsorted(np.cumsum(drawn), budget)) + 1
    sizes = drawn[:count]
    sizes[-1] -= int(sizes.sum()) - budget
    # In random order, or the one that was cut short would always be the row's last.
    sizes = sizes[draws.permutation(count)]
    ends = np.cumsum(sizes) * len(places) // budget
    begins = np.concatenate(([0], ends[:-1]))
    first = begins + (draws.uniform(count) * (ends - begins - sizes + 1)).astype(np.int64)
    within = np.arange(budget) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen[places[np.repeat(first, sizes) + within]] = True
    return chosen


def ranks(chosen: NDArray[np.bool_], draws: Draws) -> NDArray[np.int64]:
    """The place of each token [n] in the order: CONTEXT, or a rank from 0 among those chosen.

    Pieces that do not see each other may share one order: of the tokens of one piece, each order is
    alike likely.
    """
    found = np.full(len(chosen), CONTEXT, np.int64)
    found[chosen] = draws.permutation(int(chosen.sum()))
    return found
