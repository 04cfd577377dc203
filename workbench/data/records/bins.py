"""Rows of records, several of them in one: which go together."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def best_fit(lengths: NDArray[np.int64], capacity: int) -> list[list[int]]:
    """Bins of so many tokens at most, each a list of places in `lengths`: best fit, the longest first
    (Johnson 1973; as packing of training data in Ding et al. 2024, "Fewer Truncations Improve Language
    Modeling"). Lengths are at most the capacity; equal ones keep their order.

    How many bins there are depends on the lengths alone, and not on their order.
    """
    bins: list[list[int]] = []
    with_room: dict[int, list[int]] = defaultdict(list)
    rooms: list[int] = []  # the keys of `with_room`, in order
    for place in np.argsort(-lengths, kind="stable").tolist():
        size = int(lengths[place])
        found = bisect_left(rooms, size)
        if found == len(rooms):
            number, room = len(bins), capacity
            bins.append([])
        else:
            room = rooms[found]
            number = with_room[room].pop()
            if not with_room[room]:
                del with_room[room], rooms[found]
        bins[number].append(place)
        left = room - size
        if left:
            if left not in with_room:
                insort(rooms, left)
            with_room[left].append(number)
    return bins
