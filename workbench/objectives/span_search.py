"""From logits of starts and ends to the likeliest spans of a context (Devlin et al. 2019, section 4.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

N_BEST = 20
MAX_ANSWER_TOKENS = 30


class Span(NamedTuple):
    """A span of characters of the context; `score` is the sum of its two logits."""

    score: float
    start: int
    end: int


def best_spans(
    start_logits: NDArray[np.floating],
    end_logits: NDArray[np.floating],
    offsets: NDArray[np.integer],
    *,
    n_best: int = N_BEST,
    max_answer_tokens: int = MAX_ANSWER_TOKENS,
) -> list[Span]:
    """The best spans of one window, best first.

    Logits are [tokens]; `offsets` [tokens, 2] are the characters of the context that a token stands for,
    −1 for tokens that are not of the context. An end comes at or behind its start, at most
    `max_answer_tokens` further on.
    """
    places = np.flatnonzero(offsets[:, 0] >= 0)
    if not len(places):
        return []
    starts = places[np.argsort(-start_logits[places], kind="stable")[:n_best]]
    ends = places[np.argsort(-end_logits[places], kind="stable")[:n_best]]
    length = ends[None, :] - starts[:, None]
    scores = start_logits[starts][:, None] + end_logits[ends][None, :]
    scores = np.where((length >= 0) & (length < max_answer_tokens), scores, -np.inf)
    order = np.argsort(-scores, axis=None, kind="stable")[:n_best]
    rows, columns = np.unravel_index(order, scores.shape)
    return [
        Span(float(scores[row, column]), int(offsets[starts[row], 0]), int(offsets[ends[column], 1]))
        for row, column in zip(rows, columns, strict=True)
        if np.isfinite(scores[row, column])
    ]


def merge(windows: Iterable[list[Span]], n_best: int = N_BEST) -> list[Span]:
    """The best spans over the windows of one context, each place once."""
    found: dict[tuple[int, int], Span] = {}
    for span in (span for spans in windows for span in spans):
        known = found.get(span[1:])
        if known is None or span.score > known.score:
            found[span[1:]] = span
    return sorted(found.values(), key=lambda span: -span.score)[:n_best]


def probabilities(spans: list[Span], others: tuple[float, ...] = ()) -> list[float]:
    """The softmax of the scores of candidates, with the scores of `others` (no answer) among them."""
    scores = np.array([*(span.score for span in spans), *others])
    weights = np.exp(scores - scores.max(initial=-np.inf))
    shares: list[float] = (weights / weights.sum()).tolist()
    return shares
