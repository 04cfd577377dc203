"""Which ranks of a run are slow, silent or gone, told from what they wrote about themselves."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median_low

from workbench.store.ranks import HEARTBEAT_SECONDS, OVER, Rank

STEPS = 8
"""Of the last steps the median counts: one slow step is none."""
LEAST_STEPS = 4
NOTABLE, NOTABLE_OF_FEW, FEW = 1.1, 1.25, 4
"""Ranks are slow from so many times their peers' work on; of few peers the median says less."""
DEVIATIONS = 4 * 1.4826
"""Four standard deviations, in median absolute deviations of a normal distribution (Rousseeuw and Croux
1993)."""
MOST_STEPS_SLOW = 0.75
IN_STEP = ("computing", "waiting")
SILENT_SECONDS = 3.5 * HEARTBEAT_SECONDS
STUCK_SECONDS, STUCK_STEPS, STUCK_FIRST = 120.0, 5.0, 600.0
"""Ranks are stuck when none of them has got on for so many seconds, and for so many times the longest of
the last steps; before there are any, for so many seconds: the first step compiles and allocates."""


@dataclass(frozen=True)
class Straggler:
    """A rank whose own work takes `factor` times that of its peers: `seconds` a step, not `usual`."""

    rank: Rank
    factor: float
    seconds: float
    usual: float


def own_work(rank: Rank) -> float | None:
    """Median seconds of a rank's own work in its last steps; None where it is not measured, or too few."""
    busy = [value for value in rank.busy[-STEPS:] if value is not None]
    return median_low(busy) if len(busy) >= LEAST_STEPS else None


def step_seconds(rank: Rank) -> float | None:
    """Median seconds of a rank's last steps."""
    return median_low(rank.seconds[-STEPS:]) if rank.seconds else None


def stragglers(ranks: Iterable[Rank]) -> list[Straggler]:
    """The slow ranks, the slowest first.

    A rank is compared with those of its own pipeline stage, which have the same work; where it has a stage
    alone, with all. It is slow when the median of its own work lies beyond four deviations of theirs and a
    tenth, in most of the last steps.
    """
    found: list[Straggler] = []
    for group in _peers(list(ranks)):
        works = {rank.place.rank: work for rank in group if (work := own_work(rank)) is not None}
        if len(works) < 2:
            continue
        usual = median_low(works.values())
        spread = median_low([abs(work - usual) for work in works.values()])
        least = NOTABLE if len(works) >= FEW else NOTABLE_OF_FEW
        limit = max(least * usual, usual + DEVIATIONS * spread)
        for rank in group:
            work = works.get(rank.place.rank)
            if work is not None and work > limit > 0 and _mostly(rank, least * usual):
                found.append(Straggler(rank, work / usual, work, usual))
    return sorted(found, key=lambda straggler: -straggler.factor)


def _mostly(rank: Rank, limit: float) -> bool:
    last = [value for value in rank.busy[-STEPS:] if value is not None]
    return sum(value > limit for value in last) >= MOST_STEPS_SLOW * len(last)


def _peers(ranks: Sequence[Rank]) -> list[list[Rank]]:
    stages: dict[int, list[Rank]] = defaultdict(list)
    for rank in ranks:
        stages[rank.place.coordinates.get("pp", 0)].append(rank)
    return list(stages.values()) if all(len(stage) > 1 for stage in stages.values()) else [list(ranks)]


def silent(ranks: Sequence[Rank], *, active: bool, now: float | None = None) -> list[tuple[Rank, float]]:
    """Ranks of an active run that have not been heard of for a while, with how many seconds.

    Clocks of hosts differ: where any rank is heard of, it is what the others are compared with.
    """
    if not active or not ranks:
        return []
    now = time.time() if now is None else now
    newest = max(rank.updated for rank in ranks)
    reference = newest if abs(now - newest) < SILENT_SECONDS else now
    return [
        (rank, reference - rank.updated)
        for rank in ranks
        if rank.phase not in OVER and reference - rank.updated > SILENT_SECONDS
    ]


@dataclass(frozen=True)
class Stuck:
    """All ranks are in a step that does not end, for so many seconds; those that are `behind` are what the
    others wait for. Where all are as far, that cannot be told from here, and there are none."""

    seconds: float
    behind: tuple[Rank, ...]


def stuck(ranks: Sequence[Rank], *, active: bool) -> Stuck | None:
    """Whether the ranks of an active run wait for each other for ever; None while any of them gets on, is
    silent or over, or does something that takes long. Each is measured by its own clock."""
    if not active or len(ranks) < 2 or any(rank.phase not in IN_STEP for rank in ranks):
        return None
    ages = [rank.updated - rank.since for rank in ranks if rank.since is not None]
    steps = [rank.seconds[-STEPS:] for rank in ranks]
    longest = max((max(seconds, default=0.0) for seconds in steps), default=0.0)
    limit = max(STUCK_SECONDS, STUCK_STEPS * longest) if longest else STUCK_FIRST
    if len(ages) < len(ranks) or min(ages) < limit:
        return None
    return Stuck(min(ages), _behind(ranks))


def _behind(ranks: Sequence[Rank]) -> tuple[Rank, ...]:
    # A later stage of a pipeline has made no pass where an earlier one hangs.
    stages = len({rank.place.coordinates.get("pp", 0) for rank in ranks}) > 1

    def far(rank: Rank) -> tuple[int, int]:
        # One that waits has its rows, and has not begun to compute.
        return rank.step, 1 + rank.passes if rank.passes and not stages else int(rank.phase == "waiting")

    places = [far(rank) for rank in ranks]
    least = min(places)
    found = tuple(rank for rank, place in zip(ranks, places, strict=True) if place == least)
    return found if len(found) <= len(ranks) / 2 else ()


def missing(ranks: Sequence[Rank]) -> list[int]:
    """Ranks that never wrote anything."""
    size = max((rank.place.world_size for rank in ranks), default=0)
    there = {rank.place.rank for rank in ranks}
    return [number for number in range(size) if number not in there]
