"""Factorisation orders: which tokens are predicted, and in which order (Yang et al. 2019, XLNet)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.data.draws import Draws

CONTEXT = -1
"""The rank of a token that is not predicted: before all that are."""


def choose_spans(
    may_predict: NDArray[np.bool_], pieces: NDArray[np.int64], share: float, longest: int, draws: Draws
) -> NDArray[np.bool_]:
    """Choose about `share` of the tokens [n], in spans of 1 … `longest` neighbours of one piece.

    A span of k tokens is drawn with a chance in proportion to 1/k, and is put at random into a stretch of
    k / share tokens, so that what is predicted is spread over the row. At least one token is chosen where
    one may be.
    """
    chosen = np.zeros(len(may_predict), np.bool_)
    places = np.flatnonzero(may_predict)
    budget = max(1, round(share * len(places))) if len(places) else 0
    chances = np.cumsum(1.0 / np.arange(1, longest + 1))
    cursor = 0
    while budget > 0 and cursor < len(places):
        size = 1 + int(np.searchsorted(chances, draws.uniform(1)[0] * chances[-1], "right"))
        size = min(size, budget)
        stretch = max(size, round(size / share))
        first = cursor + int(draws.integers(1, stretch - size + 1)[0])
        span = places[first : first + size]
        # A span ends where its piece does.
        span = (
            span[(span - span[0] == np.arange(len(span))) & (pieces[span] == pieces[span[0]])]
            if len(span)
            else span
        )
        chosen[span] = True
        budget -= len(span)
        cursor += stretch
    if len(places) and not chosen.any():
        chosen[places[int(draws.integers(1, len(places))[0])]] = True
    return chosen


def ranks(chosen: NDArray[np.bool_], draws: Draws) -> NDArray[np.int64]:
    """The place of each token [n] in the order: CONTEXT, or a rank from 0 among those chosen."""
    found = np.full(len(chosen), CONTEXT, np.int64)
    count = int(chosen.sum())
    found[chosen] = draws.permutation(count)
    return found
