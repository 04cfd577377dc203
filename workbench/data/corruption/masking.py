"""Masks: which tokens of a row are hidden, and what stands there instead (Devlin et al. 2019)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.data.draws import Draws

NO_TARGET = -100
"""What torch's cross-entropy leaves out."""


class Masked(NamedTuple):
    """A row after masking: what the model reads [n], and what it must say [n], NO_TARGET elsewhere."""

    input_ids: NDArray[np.int64]
    targets: NDArray[np.int64]


def wanted(candidates: int, share: float) -> int:
    """How many of so many tokens are selected: their share, rounded, at least one if there is one."""
    return min(candidates, max(1, round(share * candidates)))


def select(
    may_hide: NDArray[np.bool_], share: float, draws: Draws, words: NDArray[np.int64] | None = None
) -> NDArray[np.bool_]:
    """Choose `wanted` of the tokens [n] that may be hidden.

    With `words` [n], the number of each token's word, all tokens of a word are chosen together: words are
    taken in random order, those left out that would make it too many. So the count falls short by less than
    the shortest word that is left; where every word is too long, the first drawn is taken all the same.
    """
    places = np.flatnonzero(may_hide)
    count = wanted(len(places), share)
    selected = np.zeros(len(may_hide), np.bool_)
    if words is None:
        selected[places[draws.permutation(len(places))[:count]]] = True
        return selected
    numbers, sizes = np.unique(words[places], return_counts=True)
    order = draws.permutation(len(numbers))
    chosen, room = [], count
    for word in order:
        if sizes[word] <= room:
            chosen.append(numbers[word])
            room -= int(sizes[word])
        if not room:
            break
    if not chosen:
        chosen = [numbers[word] for word in order[:1]]
    selected[places] = np.isin(words[places], chosen)
    return selected


def hide(
    tokens: NDArray[np.int64],
    selected: NDArray[np.bool_],
    draws: Draws,
    *,
    mask_id: int,
    replacements: NDArray[np.int64],
    mask_share: float = 0.8,
    random_share: float = 0.1,
) -> Masked:
    """Exchange selected tokens [n]: each becomes the mask, one of `replacements`, or stays as it is."""
    places = np.flatnonzero(selected)
    fate = draws.uniform(len(places))
    drawn = replacements[draws.integers(len(places), len(replacements))]
    kept = np.where(fate < mask_share + random_share, drawn, tokens[places])
    input_ids, targets = tokens.copy(), np.full_like(tokens, NO_TARGET)
    input_ids[places] = np.where(fate < mask_share, mask_id, kept)
    targets[places] = tokens[places]
    return Masked(input_ids, targets)
