"""Span corruption (Raffel et al. 2020, T5): spans are cut out, a sentinel stands for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.data.draws import Draws

NO_SPAN = -1

Tokens = NDArray[np.int64]


class Corrupted(NamedTuple):
    """A text after corruption, without its frame.

    `inputs` [n] is what is left of it, and `marks` [n] the span that a sentinel or mask there stands for,
    counted from 0, or NO_SPAN. `targets` [m] is what is to be said, and `spans` [m] the span that each
    target is a token of, or NO_SPAN.
    """

    inputs: Tokens
    marks: Tokens
    targets: Tokens
    spans: Tokens


@dataclass(frozen=True)
class SpanNoise:
    """How much is cut out: a share of `density` of the tokens, in spans of `mean_length` on average."""

    density: float
    mean_length: float

    def counts(self, length: int) -> tuple[int, int]:
        """How many tokens of so many are cut out, and in how many spans: a function of the length alone.

        At least one token is, and at least one is left before each span; of a single token nothing is left.
        """
        noise = min(max(round(length * self.density), 1), max(length - 1, 1))
        spans = min(max(round(noise / self.mean_length), 1), noise, max(length - noise, 1))
        return noise, spans

    def input_length(self, length: int) -> int:
        """Tokens that are left of so many, sentinels included."""
        noise, spans = self.counts(length)
        return length - noise + spans

    def target_length(self, length: int) -> int:
        """Tokens that are to be said of so many, sentinels included."""
        return sum(self.counts(length))

    def raw_length(self, room: int, target_room: int | None = None) -> int:
        """The most tokens that are no more than `room` once they are corrupted, and of which no more than
        `target_room` are to be said: rows are cut so that what is left of them fills the window.

        One token more of text is never less to read and at most one more, so the window is filled exactly;
        where hardly a token stays between spans it can be two, and one place stays empty.
        """
        target_room = 10**9 if target_room is None else target_room
        length = 1
        while self.input_length(length + 1) <= room and self.target_length(length + 1) <= target_room:
            length += 1
        return length


def partition(total: int, parts: int, draws: Draws) -> Tokens:
    """`total` as a sum of `parts` positive numbers, each way alike likely."""
    cuts = np.sort(draws.permutation(total - 1)[: parts - 1]) + 1
    return np.diff(np.concatenate(([0], cuts, [total]))).astype(np.int64)


def corrupt(tokens: Tokens, sentinels: Tokens, noise: SpanNoise, draws: Draws) -> Corrupted:
    """Cut spans out of a text [n]; the k-th has `sentinels[k]` in its place, and before it in the target.

    What stays and what is cut out take turns, beginning with what stays. So the text ends with a span, and
    as in T5's own code no sentinel closes the target (the paper's figure 2 shows one): what follows is EOS.
    """
    size = len(tokens)
    gone, count = noise.counts(size)
    kept = partition(size - gone, count, draws) if size > gone else np.zeros(count, np.int64)
    cut = partition(gone, count, draws)
    numbers = np.arange(count)
    # What a run of the text belongs to: kept, span 0, kept, span 1 …
    owners = np.stack([np.full(count, NO_SPAN), numbers], 1).ravel()
    owner = np.repeat(owners, np.stack([kept, cut], 1).ravel())
    stays = owner == NO_SPAN
    # A sentinel stands behind the kept run, and before the span.
    behind, before = np.cumsum(kept), np.cumsum(cut) - cut
    return Corrupted(
        np.insert(tokens[stays], behind, sentinels[:count]),
        np.insert(owner[stays], behind, numbers),
        np.insert(tokens[~stays], before, sentinels[:count]),
        np.insert(owner[~stays], before, NO_SPAN),
    )


def restore(inputs: Tokens, targets: Tokens, sentinels: Tokens) -> Tokens:
    """The text [n] again, from both sides of a corruption; the inverse of `corrupt`."""
    said = split(targets.tolist(), sentinels)
    known = set(sentinels.tolist())
    found: list[int] = []
    for token in inputs.tolist():
        found += said.get(token, []) if token in known else [token]
    return np.array(found, np.int64)


def split(targets: list[int], sentinels: Tokens) -> dict[int, list[int]]:
    """The tokens behind each sentinel, up to the next; what stands before the first is left out."""
    known, spans = set(sentinels.tolist()), dict[int, list[int]]()
    current: list[int] = []
    for token in targets:
        if token in known:
            current = spans[token] = []
        else:
            current.append(token)
    return spans
