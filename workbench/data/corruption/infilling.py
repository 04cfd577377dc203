"""Text infilling (Lewis et al. 2020, BART): spans are replaced by one mask each, whatever their length."""

from __future__ import annotations

import numpy as np

from workbench.data.corruption.spans import NO_SPAN, Corrupted, Tokens
from workbench.data.draws import Draws


def span_lengths(budget: int, mean_span: float, draws: Draws) -> Tokens:
    """Poisson lengths that come to `budget` tokens, the last one cut; those of 0 only insert a mask."""
    found: list[int] = []
    total = 0
    while total < budget:
        for length in draws.poisson(16, mean_span).tolist():
            length = min(length, budget - total)
            found.append(length)
            total += length
            if total >= budget:
                break
    return np.array(found, np.int64)


def corrupt(tokens: Tokens, mask_id: int, density: float, mean_span: float, draws: Draws) -> Corrupted:
    """Replace spans of a piece [n] by a mask each, until a share of `density` is gone; the target is the
    whole piece. No two masks are neighbours as long as there is text to stand between them."""
    size = len(tokens)
    budget = min(max(round(size * density), 1), size)
    lengths = span_lengths(budget, mean_span, draws)
    gaps = size - budget + 1
    if len(lengths) > gaps:
        # More spans than places between what stays: the shortest are dropped, their tokens join the last.
        lengths = np.sort(lengths)[-gaps:]
        lengths[-1] += budget - int(lengths.sum())
        lengths = lengths[draws.permutation(len(lengths))]
    before = np.sort(draws.permutation(gaps)[: len(lengths)])
    inputs: list[Tokens] = []
    spans = np.full(size, NO_SPAN, np.int64)
    kept = place = 0
    for number, (gap, gone) in enumerate(zip(before.tolist(), lengths.tolist(), strict=True)):
        inputs += [tokens[place : place + gap - kept], np.array([mask_id])]
        place += gap - kept
        kept = gap
        spans[place : place + gone] = number
        place += gone
    inputs.append(tokens[place:])
    return Corrupted(np.concatenate(inputs).astype(np.int64), tokens, spans)
