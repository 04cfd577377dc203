"""Span corruption (Raffel et al. 2020, T5): spans are cut out, a sentinel stands for each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.data.draws import Draws

NO_SPAN = -1

Tokens = NDArray[np.int64]


class Corrupted(NamedTuple):
    """A piece of text after corruption, without its frame: `inputs` [n] is what is left of it; `targets`
    [m] is what is to be said; `spans` [m] the span that each target is of, counted from 0, or NO_SPAN."""

    inputs: Tokens
    targets: Tokens
    spans: Tokens


def counts(length: int, density: float, mean_span: float) -> tuple[int, int]:
    """How many tokens of so many are cut out, and in how many spans: a function of the length alone.

    At least one token, and at least one is left, unless there is only one.
    """
    noise = min(max(round(length * density), 1), max(length - 1, 1))
    spans = min(max(round(noise / mean_span), 1), noise, max(length - noise, 1))
    return noise, spans


def corrupted_length(length: int, density: float, mean_span: float) -> int:
    """Tokens that are left of a piece, sentinels included, its frame not."""
    noise, spans = counts(length, density, mean_span)
    return length - noise + spans


def raw_length(room: int, density: float, mean_span: float) -> int:
    """The longest piece that is at most `room` tokens once it is corrupted: rows are cut so that their
    corrupted inputs fill the window."""
    length = max(room, 1)
    while corrupted_length(length + 1, density, mean_span) <= room:
        length += 1
    while length > 1 and corrupted_length(length, density, mean_span) > room:
        length -= 1
    return length


def partition(total: int, parts: int, draws: Draws) -> Tokens:
    """`total` as a sum of `parts` positive numbers, each way alike likely."""
    cuts = np.sort(draws.permutation(total - 1)[: parts - 1]) + 1 if parts > 1 else np.empty(0, np.int64)
    return np.diff(np.concatenate(([0], cuts, [total]))).astype(np.int64)


def noise_lengths(length: int, density: float, mean_span: float, draws: Draws) -> tuple[Tokens, Tokens]:
    """Lengths of what stays and what is cut out, taking turns, beginning with what stays."""
    noise, spans = counts(length, density, mean_span)
    kept = partition(length - noise, spans, draws) if length > noise else np.zeros(spans, np.int64)
    return kept, partition(noise, spans, draws)


def corrupt(tokens: Tokens, sentinels: Tokens, density: float, mean_span: float, draws: Draws) -> Corrupted:
    """Cut spans out of a piece [n]; the k-th has `sentinels[k]` in its place, and before it in the target.

    As in T5's own code no sentinel closes the target: a piece ends with a span, and what follows is EOS.
    """
    kept, cut = noise_lengths(len(tokens), density, mean_span, draws)
    inputs: list[Tokens] = []
    targets: list[Tokens] = []
    spans: list[Tokens] = []
    place = 0
    for number, (stay, gone) in enumerate(zip(kept.tolist(), cut.tolist(), strict=True)):
        sentinel = sentinels[number : number + 1]
        inputs += [tokens[place : place + stay], sentinel]
        place += stay
        targets += [sentinel, tokens[place : place + gone]]
        spans += [np.full(1, NO_SPAN), np.full(gone, number)]
        place += gone
    return Corrupted(np.concatenate(inputs), np.concatenate(targets), np.concatenate(spans).astype(np.int64))


def restore(inputs: Tokens, targets: Tokens, sentinels: Tokens) -> Tokens:
    """The text [n] again, from both sides of a corruption; the inverse of `corrupt`."""
    known = {int(sentinel): number for number, sentinel in enumerate(sentinels)}
    spans: dict[int, list[int]] = {}
    current = -1
    for token in targets.tolist():
        if token in known:
            current = known[token]
            spans[current] = []
        elif current >= 0:
            spans[current].append(token)
    found: list[int] = []
    for token in inputs.tolist():
        found += spans.get(known[token], []) if token in known else [token]
    return np.array(found, np.int64)
