"""Pipeline schedules: the orders of torch.distributed.pipelining, the papers' bubble, what is in flight."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from workbench.scaling.layouts.layout import Schedule
from workbench.scaling.layouts.pipeline import (
    bubble,
    in_flight,
    layers_of_pieces,
    most_in_flight,
    orders,
    simulate,
)

CASES: list[tuple[Schedule, int, int, int]] = [
    ("1f1b", 2, 4, 1),
    ("1f1b", 4, 8, 1),
    ("1f1b", 4, 3, 1),
    ("gpipe", 4, 6, 1),
    ("interleaved", 2, 4, 2),
    ("interleaved", 4, 8, 3),
    ("interleaved", 4, 10, 2),
    ("interleaved", 4, 3, 2),
]


def torchs_order(stages: int, microbatches: int, pieces: int, rank: int) -> list[tuple[bool, int, int]]:
    """The passes of torch's interleaved schedule, without making any stages."""
    from torch.distributed.pipelining import schedules

    rounds = max(1, microbatches // stages)
    fake: Any = SimpleNamespace(
        n_local_stages=pieces,
        microbatches_per_round=microbatches // rounds,
        pp_group_size=stages,
        _n_microbatches=microbatches,
    )
    actions = schedules.ScheduleInterleaved1F1B._calculate_single_rank_operations(fake, rank)
    kinds = {schedules._ComputationType.FORWARD: False, schedules._ComputationType.FULL_BACKWARD: True}
    return [
        (kinds[action.computation_type], int(action.stage_index), int(action.microbatch_index or 0))
        for action in actions
        if action is not None and action.computation_type in kinds
    ]


@pytest.mark.parametrize(("stages", "microbatches", "pieces"), [case[1:] for case in CASES if case[3] > 1])
def test_interleaved_stages_work_in_torchs_order(stages: int, microbatches: int, pieces: int) -> None:
    for rank, order in enumerate(orders("interleaved", stages, microbatches, pieces)):
        ours = [(work.backward, work.piece, work.microbatch) for work in order]
        assert ours == torchs_order(stages, microbatches, pieces, rank)


@pytest.mark.parametrize(("schedule", "stages", "microbatches", "pieces"), CASES)
def test_everything_is_done_once_and_backward_after_forward(
    schedule: Schedule, stages: int, microbatches: int, pieces: int
) -> None:
    found = orders(schedule, stages, microbatches, pieces)
    for order in found:
        assert len(set(order)) == len(order) == 2 * microbatches * pieces
    for row in simulate(found, [1.0] * stages * pieces, [2.0] * stages * pieces):
        assert all(one.end <= next_.start for one, next_ in zip(row, row[1:], strict=False))


@pytest.mark.parametrize(("schedule", "stages", "microbatches", "pieces"), CASES)
def test_what_is_in_flight_has_a_closed_form(
    schedule: Schedule, stages: int, microbatches: int, pieces: int
) -> None:
    for stage, order in enumerate(orders(schedule, stages, microbatches, pieces)):
        assert in_flight(order) == most_in_flight(schedule, stage, stages, microbatches, pieces)


@pytest.mark.parametrize(
    ("stages", "microbatches", "pieces"),
    [(4, 8, 1), (8, 16, 1), (4, 8, 2), (4, 16, 4), (4, 1, 2), (4, 3, 2), (8, 5, 3), (4, 2, 1)],
)
def test_the_bubble_is_that_of_the_paper(stages: int, microbatches: int, pieces: int) -> None:
    schedule: Schedule = "interleaved" if pieces > 1 else "1f1b"
    # A pass through a piece of a stage takes its share of the stage's time.
    forward, backward = [1 / pieces] * stages * pieces, [2 / pieces] * stages * pieces
    slots = simulate(orders(schedule, stages, microbatches, pieces), forward, backward)
    took = max(row[-1].end for row in slots)
    assert took == pytest.approx(3 * microbatches * (1 + bubble(stages, microbatches, pieces)))


def test_sending_delays_each_micro_batch_of_a_full_pipeline() -> None:
    stages, microbatches = 4, 16
    found = orders("1f1b", stages, microbatches)
    times = [
        max(row[-1].end for row in simulate(found, [1.0] * stages, [2.0] * stages, sending))
        for sending in (0.0, 0.1)
    ]
    steps = microbatches + stages - 1
    assert times[1] - times[0] == pytest.approx(2 * 0.1 * steps * (stages - 1) / stages, rel=0.15)


def test_orders_that_wait_for_each_other_are_refused() -> None:
    first, second = orders("gpipe", 2, 1)
    with pytest.raises(ValueError, match="wait"):
        simulate([tuple(reversed(first)), second], [1.0, 1.0], [1.0, 1.0])


@pytest.mark.parametrize(("layers", "pieces"), [(126, 16), (5, 4), (8, 8), (80, 64)])
def test_layers_are_shared_evenly(layers: int, pieces: int) -> None:
    found = layers_of_pieces(layers, pieces)
    assert sum(found) == layers and max(found) - min(found) <= 1
    assert found[-1] == min(found)
