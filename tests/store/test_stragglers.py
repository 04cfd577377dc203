"""Which ranks are called slow, silent or missing."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from fake_ranks import write_ranks

from workbench.scaling.layouts.layout import Layout
from workbench.store.ranks import Rank
from workbench.store.stragglers import missing, own_work, silent, stragglers, stuck


def names(ranks: tuple[Rank, ...]) -> list[int]:
    return [straggler.rank.place.rank for straggler in stragglers(ranks)]


@pytest.mark.parametrize("layout", [Layout(dp_shard=2), Layout(dp_shard=8), Layout(dp_shard=32, tp=8)])
def test_equal_ranks_are_not_slow(tmp_path: Path, layout: Layout) -> None:
    for seed in range(3):
        assert names(write_ranks(tmp_path, layout, seed=seed)) == []


def test_slow_ranks_are_named_the_slowest_first(tmp_path: Path) -> None:
    ranks = write_ranks(tmp_path, Layout(dp_shard=16), slow={3: 1.3, 7: 1.6})
    assert names(ranks) == [7, 3]
    found = stragglers(ranks)[0]
    assert found.factor == pytest.approx(1.6, rel=0.05) and found.usual == pytest.approx(0.33, rel=0.05)


def test_one_slow_step_is_none(tmp_path: Path) -> None:
    ranks = list(write_ranks(tmp_path, Layout(dp_shard=8)))
    ranks[2] = replace(ranks[2], busy=(*ranks[2].busy[:-2], 3.0, 3.0))
    assert names(tuple(ranks)) == []


def test_stages_of_a_pipeline_are_compared_within_themselves(tmp_path: Path) -> None:
    # The last stage has the head beside its layers: all of its ranks take longer.
    layout = Layout(pp=2, dp_shard=4)
    ranks = write_ranks(tmp_path, layout, slow={4: 1.5, 5: 1.5, 6: 1.5, 7: 2.2})
    assert names(ranks) == [7]


def test_work_that_is_not_measured_says_nothing(tmp_path: Path) -> None:
    ranks = write_ranks(tmp_path, Layout(dp_shard=4), busy=None)
    assert names(ranks) == [] and own_work(ranks[0]) is None


def test_silence_is_told_of_active_runs(tmp_path: Path) -> None:
    ranks = write_ranks(tmp_path, Layout(dp_shard=4), silent={2: 300.0})
    (found,) = silent(ranks, active=True)
    assert found[0].place.rank == 2 and found[1] == pytest.approx(300, abs=5)
    assert silent(ranks, active=False) == []
    # All of them silent: compared with the clock.
    assert len(silent(ranks, active=True, now=time.time() + 1000)) == 4
    # A reader whose clock is an hour ahead of all hosts, which agree, sees nobody silent but by the clock.
    ended = tuple(replace(rank, phase="ended") for rank in ranks)
    assert silent(ended, active=True) == []


def test_ranks_that_hang_are_told_though_they_are_heard_of(tmp_path: Path) -> None:
    layout = Layout(dp_shard=4)
    ranks = write_ranks(tmp_path, layout, stuck=300.0, passes={2: 7})
    found = stuck(ranks, active=True)
    assert silent(ranks, active=True) == [] and found is not None and found.seconds == pytest.approx(300)
    assert [rank.place.rank for rank in found.behind] == [2]
    assert stuck(ranks, active=False) is None
    # One that still reads its rows, while the others have theirs; one a step behind.
    reading = [replace(rank, phase="waiting", passes=0) for rank in ranks]
    for rank in (replace(reading[1], phase="computing"), replace(reading[1], step=811, passes=30)):
        found = stuck([reading[0], rank, *reading[2:]], active=True)
        assert found is not None and found.behind == (rank,)
    # As far as each other: who it is cannot be told.
    found = stuck(write_ranks(tmp_path, layout, stuck=300.0), active=True)
    assert found is not None and found.behind == ()
    # In a pipeline a later stage is behind where an earlier one hangs.
    found = stuck(write_ranks(tmp_path, Layout(pp=4), stuck=300.0, passes={3: 0}), active=True)
    assert found is not None and found.behind == ()


def test_ranks_that_get_on_or_do_what_takes_long_are_not_stuck(tmp_path: Path) -> None:
    layout = Layout(dp_shard=4)
    assert stuck(write_ranks(tmp_path, layout, stuck=100.0), active=True) is None
    ranks = write_ranks(tmp_path, layout, stuck=300.0)
    assert stuck([replace(ranks[0], since=ranks[0].updated - 5), *ranks[1:]], active=True) is None
    # Steps of a hundred seconds may take three.
    assert stuck([replace(rank, seconds=(100.0,)) for rank in ranks], active=True) is None
    # The first step compiles.
    assert stuck([replace(rank, seconds=(), busy=()) for rank in ranks], active=True) is None
    assert stuck([replace(ranks[0], phase="saving"), *ranks[1:]], active=True) is None
    assert stuck([replace(rank, since=None) for rank in ranks], active=True) is None


def test_ranks_that_never_wrote_are_missing(tmp_path: Path) -> None:
    ranks = write_ranks(tmp_path, Layout(dp_shard=4))
    assert missing(ranks) == [] and missing(ranks[:2]) == [2, 3] and missing(()) == []
