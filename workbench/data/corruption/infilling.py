"""Text infilling (Lewis et al. 2020, BART): spans are replaced by one mask each, whatever their length."""

from __future__ import annotations

import numpy as np

from workbench.data.corruption.spans import NO_SPAN, Corrupted, SpanNoise, Tokens
from workbench.data.draws import Draws


def span_lengths(budget: int, mean: float, draws: Draws) -> Tokens:
    """Lengths of a Poisson distribution until they come to `budget`, the last one cut short."""
    lengths = np.empty(0, np.int64)
    while lengths.sum() < budget:
        lengths = np.concatenate([lengths, draws.poisson(budget, mean)])
    ends = np.cumsum(lengths)
    count = int(np.searchsorted(ends, budget)) + 1
    lengths = lengths[:count]
    lengths[-1] -= ends[count - 1] - budget
    return lengths


def corrupt(tokens: Tokens, mask_id: int, noise: SpanNoise, draws: Draws) -> Corrupted:
    """Replace spans of a text [n] by a mask each, until a share of `noise.density` is gone.

    A span of length 0 inserts a mask. The target is the whole text. Masks are never neighbours, and never
    more than the tokens that are gone, so what is read is no longer than what is to be said: where there
    would be more, the shortest spans are left out, and what they held goes to the longest.
    """
    size = len(tokens)
    budget = min(max(round(size * noise.density), 1), size)
    lengths = span_lengths(budget, noise.mean_length, draws)
    gaps = size - budget + 1
    most = min(gaps, budget)
    if len(lengths) > most:
        lengths = np.sort(lengths)[-most:]
        lengths[-1] += budget - int(lengths.sum())
    count = len(lengths)
    lengths = lengths[draws.permutation(count)]
    # How many of the kept tokens stand before each mask.
    before = np.sort(draws.permutation(gaps)[:count])
    kept = np.diff(np.concatenate(([0], before, [gaps - 1])))
    numbers = np.arange(count)
    owners = np.full(2 * count + 1, NO_SPAN)
    owners[1::2] = numbers
    runs = np.empty(2 * count + 1, np.int64)
    runs[0::2], runs[1::2] = kept, lengths
    owner = np.repeat(owners, runs)
    stays = owner == NO_SPAN
    return Corrupted(
        np.insert(tokens[stays], before, mask_id), np.insert(owner[stays], before, numbers), tokens, owner
    )
