"""Which pairs of a ranking are learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

PairChoice = Literal["all", "best_worst", "adjacent"]


def pairs_of(ranks: Sequence[int], choice: PairChoice) -> list[tuple[int, int]]:
    """The better and the worse answer of each pair, by their places in `ranks` (1 best, equal ones a tie).

    all: every untied pair; best_worst: the best against the worst; adjacent: each rank against the next.
    Tied answers stand for each other: with two best ones, both are compared with the worst.
    """
    levels = sorted(set(ranks))
    if choice == "best_worst":
        wanted = {(levels[0], levels[-1])} if len(levels) > 1 else set()
    elif choice == "adjacent":
        wanted = set(zip(levels, levels[1:], strict=False))
    else:
        wanted = {(above, below) for above in levels for below in levels if above < below}
    return [
        (better, worse)
        for better, above in enumerate(ranks)
        for worse, below in enumerate(ranks)
        if (above, below) in wanted
    ]
