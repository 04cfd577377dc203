"""What a finder gives, and which of several finds at one place is taken."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple


class Find(NamedTuple):
    """A value of a kind at `text[start:end]`; `name` says more: the country, the brand of a card."""

    start: int
    end: int
    kind: str
    value: str
    name: str = ""


Finder = Callable[[str], Iterator[Find]]

BEFORE = 48
"""Characters before a number in which a word may say what it is."""


def says(text: str, start: int, words: re.Pattern[str]) -> bool:
    """Whether a word shortly before a place, on the same line, says what stands there."""
    before = text[max(0, start - BEFORE) : start].rpartition("\n")[2]
    return words.search(before) is not None


def settled(finds: Iterable[Find]) -> list[Find]:
    """Finds that do not overlap, in order: the one that begins first, of those the longest, then the
    earlier."""
    taken: list[Find] = []
    end = -1
    for find in sorted(finds, key=lambda find: (find.start, -find.end)):
        if find.start >= end:
            taken.append(find)
            end = find.end
    return taken
