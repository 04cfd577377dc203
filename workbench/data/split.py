"""Which documents are held out for evaluation: decided by their content, so the same ones every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

TRAIN, EVAL, DROPPED = 0, 1, 2
FEW = 20
"""With fewer different documents than this, the tail of each is held out instead of whole documents."""

How = Literal["none", "by document", "tail of each document", "own sources"]


@dataclass(frozen=True)
class Split:
    """The side of each document: `sides[source][document]` is TRAIN, EVAL or DROPPED.

    With `how` "tail of each document" all sides are TRAIN, and `parts` cuts each text in two.
    """

    how: How
    sides: list[NDArray[np.uint8]]
    fraction: float

    def parts(self, source: int, document: int, text: str) -> list[tuple[int, str]]:
        """What becomes of a text: pairs of side and text, none when it is dropped."""
        if self.how == "tail of each document":
            cut = tail_start(text, self.fraction)
            return [(side, part) for side, part in ((TRAIN, text[:cut]), (EVAL, text[cut:])) if part.strip()]
        side = int(self.sides[source][document])
        return [] if side == DROPPED else [(side, text)]

    @property
    def dropped(self) -> int:
        """Documents left out of the training text because they are in the held-out one."""
        return sum(int((sides == DROPPED).sum()) for sides in self.sides)


def split_sources(hashes: Sequence[NDArray[np.uint64]], fraction: float, seed: int) -> Split:
    """Hold out about `fraction` of the documents; identical documents land on the same side.

    At least one is held out, and one kept, when there are `FEW` different ones; with fewer, the last
    `fraction` of each text is held out.
    """
    sides = [np.zeros(len(source), np.uint8) for source in hashes]
    if not fraction:
        return Split("none", sides, 0.0)
    distinct = np.unique(np.concatenate(hashes))
    if len(distinct) < FEW:
        return Split("tail of each document", sides, fraction)
    draws = uniform(distinct, seed)
    chosen = draws < fraction
    if not chosen.any():
        chosen[draws.argmin()] = True
    if chosen.all():
        chosen[draws.argmax()] = False
    held_out = distinct[chosen]
    for side, source in zip(sides, hashes, strict=True):
        side[np.isin(source, held_out)] = EVAL
    return Split("by document", sides, fraction)


def own_sources(train: Sequence[NDArray[np.uint64]], held_out: Sequence[NDArray[np.uint64]]) -> Split:
    """Hold out the documents of other sources; what the training sources share with them is dropped there."""
    known = np.unique(np.concatenate(held_out))
    sides = [np.where(np.isin(source, known), DROPPED, TRAIN).astype(np.uint8) for source in train]
    sides += [np.full(len(source), EVAL, np.uint8) for source in held_out]
    return Split("own sources", sides, 0.0)


def uniform(hashes: NDArray[np.uint64], seed: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each hash and seed: splitmix64 of both (Steele et al. 2014)."""
    state = np.asarray(hashes, np.uint64) ^ _mix(np.full(1, seed, np.uint64))
    return (_mix(state) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    # Arrays of unsigned integers wrap around without a warning, which is what the mixing wants.
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def tail_start(text: str, fraction: float) -> int:
    """Where the last `fraction` of a text begins: at a line, else at a word, else just there."""
    target = int(len(text) * (1 - fraction))
    for mark in ("\n", " "):
        after = text.find(mark, target) + 1
        if after and text[after:].strip():
            return after
        before = text.rfind(mark, 0, target) + 1
        if before and text[:before].strip():
            return before
    return target
