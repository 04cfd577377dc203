"""Perplexity by position: how much what stands far before helps, or whether it confuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.prediction.long_context.scoring import Scorer, Told
from workbench.prediction.long_context.statistics import Floats, mean_of
from workbench.prediction.long_context.windows import Windows

TAIL = 4
"""The last part of so many of a length is told apart: there the context is long for every token."""


def by_position(nll: Floats, documents: NDArray[np.int64], buckets: int) -> list[dict[str, Any]]:
    """The mean negative log-likelihood of the tokens at places `start` to `end` of windows of T tokens, from
    nll [N, T − 1] of all but their first."""
    length = nll.shape[1] + 1
    edges = np.unique(np.linspace(0, length, min(buckets, length - 1) + 1).round().astype(int))
    found = []
    for start, end in zip(edges, edges[1:], strict=False):
        part = nll[:, max(start, 1) - 1 : end - 1]
        if part.shape[1]:
            found.append({"start": int(start), "end": int(end), **mean_of(part, documents)})
    return found


def by_length(nll: Floats, documents: NDArray[np.int64], length: int) -> dict[str, Any]:
    """The same of the first `length` tokens, and of the last quarter of them."""
    first = nll[:, : length - 1]
    tail = mean_of(first[:, -max(1, length // TAIL) :], documents)
    return {"length": length, **mean_of(first, documents), "tail": tail}


class Read(NamedTuple):
    """What was found by position and by length, and the negative log-likelihoods [N, T − 1] behind it."""

    positions: list[dict[str, Any]]
    lengths: list[dict[str, Any]]
    nll: Floats


def positions(
    scorer: Scorer, windows: Windows, lengths: Sequence[int], buckets: int, told: Told, *, moving: bool
) -> Read:
    """Perplexity by position at the longest length, and by length, of windows as long as the longest. With
    `moving`, where what a token is worth depends on what comes behind it, every length is read by itself."""
    longest = max(lengths)
    found = []
    whole: Floats = np.empty(0)
    for length in sorted(lengths, reverse=True):
        if length == longest or moving:
            rows = np.ascontiguousarray(windows.rows[:, :length])
            scores = scorer.score(rows, told)
            nll = -scores.logprobs.astype(np.float64)
            whole = nll if length == longest else whole
        else:
            nll = whole
        found.append(by_length(nll, windows.documents, length))
    return Read(by_position(whole, windows.documents, buckets), found[::-1], whole)


def difference(read: Read, other: Read, documents: NDArray[np.int64]) -> dict[str, Any]:
    """By how much the mean negative log-likelihood of the longest windows differs from another's, and the
    interval of that: documents differ far more from each other than two ways of reading the same ones."""
    return mean_of(read.nll - other.nll, documents)


def work(windows: Windows, lengths: Sequence[int], *, moving: bool) -> int:
    """Tokens that `positions` reads."""
    return len(windows.rows) * (sum(lengths) if moving else max(lengths))


def sliding(
    scorer: Scorer, windows: Windows, lengths: Sequence[int], stride: int, told: Told
) -> list[dict[str, Any]]:
    """Perplexity with a window that slides (Press et al. 2021, section 2): every token behind the first
    `max(lengths)` is predicted once, from at least T − `stride` tokens before it, for each length T, of which
    all are more than `stride`. So all lengths predict the same tokens, and what differs is how far they look
    back."""
    found = []
    for length in lengths:
        rows, documents = [], []
        for number, text in zip(windows.texts_of, windows.texts, strict=True):
            for end in range(max(lengths) + stride, len(text) + 1, stride):
                rows.append(text[end - length : end])
                documents.append(number)
        if not rows:
            continue
        scores = scorer.score(np.stack(rows), told)
        nll = -scores.logprobs[:, -stride:].astype(np.float64)
        found.append({"length": length, "stride": stride, **mean_of(nll, np.array(documents))})
    return found


def sliding_work(windows: Windows, lengths: Sequence[int], stride: int) -> int:
    """Tokens that `sliding` reads."""
    longest = max(lengths)
    return sum(lengths) * sum(max(0, len(text) - longest) // stride for text in windows.texts)
