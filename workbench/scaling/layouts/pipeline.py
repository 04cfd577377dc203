"""Pipeline schedules: in which order each stage works, how long it waits, how much it holds.

GPipe (Huang et al. 2019), 1F1B and interleaved 1F1B (Narayanan et al. 2021, section 2.2). The orders are
those of `torch.distributed.pipelining`, which a test compares them with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from workbench.scaling.layouts.layout import Schedule


@dataclass(frozen=True)
class Work:
    """One micro-batch's forward or backward pass through one piece of the model (`piece` counts along the
    model: piece k of p stages is on stage k mod p)."""

    backward: bool
    piece: int
    microbatch: int


@dataclass(frozen=True)
class Slot:
    """A piece of work and when it is done."""

    work: Work
    start: float
    end: float


def bubble(stages: int, microbatches: int, virtual_stages: int = 1) -> float:
    """Time that a stage waits, as a share of the time it works: (p−1)/(m·v) (Narayanan et al. 2021,
    section 2.2.2). Fewer micro-batches than stages cannot fill the pieces in between: p − m of the time of a
    stage are lost beside, and (m−1)/v instead of (p−1)/v."""
    full = max(microbatches, stages) + (min(microbatches, stages) - 1) / virtual_stages
    return full / microbatches - 1


@lru_cache(maxsize=64)
def orders(
    schedule: Schedule, stages: int, microbatches: int, pieces: int = 1
) -> tuple[tuple[Work, ...], ...]:
    """The work of each stage in its order; `pieces` of the model on each stage."""
    return tuple(tuple(_order(schedule, stage, stages, microbatches, pieces)) for stage in range(stages))


def _order(schedule: Schedule, stage: int, stages: int, microbatches: int, pieces: int) -> list[Work]:
    if schedule == "gpipe":
        forward = [Work(False, stage, number) for number in range(microbatches)]
        return forward + [Work(True, stage, number) for number in range(microbatches)]
    if schedule == "1f1b":
        return _alternate(
            [Work(False, stage, number) for number in range(microbatches)],
            [Work(True, stage, number) for number in range(microbatches)],
            min(microbatches, stages - stage) - 1,
        )
    rounds = max(1, microbatches // stages)
    each = microbatches // rounds
    total = microbatches * pieces
    forward = [_of_round(False, number, stage, stages, each, pieces) for number in range(total)]
    backward = [_of_round(True, number, stage, stages, each, pieces) for number in range(total)]
    return _alternate(forward, backward, min(total, (pieces - 1) * each + 2 * (stages - 1 - stage)))


def _of_round(backward: bool, number: int, stage: int, stages: int, each: int, pieces: int) -> Work:
    """The `number`th pass of a stage: `each` micro-batches through its first piece, then as many through its
    next; backward from its last piece."""
    piece = number // each % pieces
    piece = pieces - 1 - piece if backward else piece
    microbatch = number // (each * pieces) * each + number % each
    return Work(backward, piece * stages + stage, microbatch)


def _alternate(forward: list[Work], backward: list[Work], warm_up: int) -> list[Work]:
    """`warm_up` forward passes, then one forward and one backward in turn, then what is left."""
    done = forward[:warm_up]
    for ahead, behind in zip(forward[warm_up:], backward, strict=False):
        done += [ahead, behind]
    return done + backward[len(forward) - warm_up :]


def in_flight(order: Sequence[Work]) -> int:
    """The most passes through a piece whose backward pass is still to come: what activations are kept of."""
    held = most = 0
    for work in order:
        held += -1 if work.backward else 1
        most = max(most, held)
    return most


def most_in_flight(schedule: Schedule, stage: int, stages: int, microbatches: int, pieces: int = 1) -> int:
    """The same in closed form, in passes through a piece."""
    total = microbatches * pieces
    if schedule == "gpipe":
        return total
    if schedule == "1f1b":
        return min(total, stages - stage)
    each = microbatches // max(1, microbatches // stages)
    return min(total, (pieces - 1) * each + 2 * (stages - 1 - stage) + 1)


def simulate(
    orders: Sequence[Sequence[Work]],
    forward: Sequence[float],
    backward: Sequence[float],
    sending: float = 0.0,
) -> list[list[Slot]]:
    """When each piece of work is done, given the time that a pass through each piece takes (one entry a
    piece, along the model) and that a stage's result takes to the next one.

    Raises `ValueError` for orders that wait for each other.
    """
    stages, last = len(orders), max(work.piece for order in orders for work in order)
    ends: dict[Work, float] = {}
    clocks, places = [0.0] * stages, [0] * stages
    slots: list[list[Slot]] = [[] for _ in orders]
    left = sum(len(order) for order in orders)
    while left:
        moved = False
        for stage, order in enumerate(orders):
            while places[stage] < len(order):
                work = order[places[stage]]
                ready = _ready(work, last, ends, sending)
                if ready is None:
                    break
                start = max(clocks[stage], ready)
                end = start + (backward if work.backward else forward)[work.piece]
                ends[work] = clocks[stage] = end
                slots[stage].append(Slot(work, start, end))
                places[stage] += 1
                left -= 1
                moved = True
        if not moved:
            raise ValueError("these orders wait for each other")
    return slots


def _ready(work: Work, last: int, ends: dict[Work, float], sending: float) -> float | None:
    """When what a piece of work needs is there; None when that is not known yet."""
    if not work.backward:
        if work.piece == 0:
            return 0.0
        before = ends.get(Work(False, work.piece - 1, work.microbatch))
        return None if before is None else before + sending
    own = ends.get(Work(False, work.piece, work.microbatch))
    if work.piece == last:
        return own
    after = ends.get(Work(True, work.piece + 1, work.microbatch))
    return None if own is None or after is None else max(own, after + sending)


def layers_of_pieces(layers: int, pieces: int) -> list[int]:
    """How many layers each piece has, as training cuts them: as even as they get, the last ones, which have
    the head beside, the shorter."""
    least, more = divmod(layers, pieces)
    return [least + (piece < more) for piece in range(pieces)]
