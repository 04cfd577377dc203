"""Layouts that a recipe can ask for, and what is said of those that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.errors import RecipeError
from workbench.recipe import validate
from workbench.recipe.parallel_section import Degrees, ParallelSection


def recipe(processes: int = 1, *, objective: str = "clm", rows: int = 8, **parallel: Any) -> Any:
    """A decoder of 4 layers and 4 heads, two of them for keys and values."""
    model = {"num_key_value_heads": 2}
    training = {"per_device_train_batch_size": rows}
    return validate(
        {
            "model": model,
            "objective": {"name": objective},
            "training": training,
            "launch": {"num_processes": processes},
            "parallel": parallel,
        },
        "test",
    )


def test_without_a_section_processes_are_copies() -> None:
    found = recipe(4)
    degrees = found.parallel.degrees(found.launch.world_size)
    assert degrees == Degrees(dp_replicate=4) and degrees.is_plain


def test_copies_fill_up_what_is_left() -> None:
    found = recipe(16, tp=2, pp=2, dp_shard=2)
    degrees = found.parallel.degrees(found.launch.world_size)
    assert degrees == Degrees(pp=2, dp_replicate=2, dp_shard=2, tp=2)
    assert degrees.data_size == 4 and not degrees.is_plain


def test_every_rank_has_a_place_of_its_own_with_tp_fastest() -> None:
    degrees = Degrees(pp=2, dp_replicate=1, dp_shard=2, cp=2, tp=2)
    places = [tuple(degrees.coordinates(rank).values()) for rank in range(16)]
    assert len(set(places)) == 16
    assert degrees.coordinates(1) == {"pp": 0, "dp_replicate": 0, "dp_shard": 0, "cp": 0, "tp": 1}
    assert degrees.coordinates(8) == {"pp": 1, "dp_replicate": 0, "dp_shard": 0, "cp": 0, "tp": 0}


@pytest.mark.parametrize(
    ("processes", "changes", "said"),
    [
        (1, {"tp": 2}, "launch as many as 2"),
        (4, {"tp": 3}, "launch as many as 6, or set parallel.tp=2"),
        (8, {"dp_replicate": 2, "dp_shard": 2}, "launch as many as 4, or set parallel.dp_replicate=4"),
        (4, {"tp": 4}, "the nearest that does is parallel.tp=2"),
        (8, {"pp": 8}, "the nearest that fits is parallel.pp=4"),
        (4, {"pp": 4, "pp_schedule": "interleaved"}, "the nearest that fits is parallel.pp=2"),
        (2, {"pp": 2, "pp_microbatches": 3}, "the nearest that does is 2"),
        (2, {"pp": 2, "objective": "reward"}, "parallel.dp_shard=2 splits it all the same"),
    ],
)
def test_impossible_layouts_name_the_nearest(processes: int, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match="parallel|pipeline|reward") as caught:
        recipe(processes, **changes)
    assert said in str(caught.value)


def test_several_machines_need_a_place_to_meet() -> None:
    with pytest.raises(RecipeError, match="main_process_ip"):
        validate({"launch": {"num_machines": 2}}, "test")


@pytest.mark.parametrize(
    ("rows", "pp", "schedule", "expected"),
    [(8, 2, "1f1b", 4), (2, 2, "1f1b", 2), (12, 4, "1f1b", 12), (12, 2, "interleaved", 4), (7, 2, "1f1b", 7)],
)
def test_rows_are_cut_for_a_pipeline(rows: int, pp: int, schedule: Any, expected: int) -> None:
    assert ParallelSection(pp=pp, pp_schedule=schedule).microbatches(rows) == expected
