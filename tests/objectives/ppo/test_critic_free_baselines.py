"""RLOO and GRPO against loops over Python floats."""

from __future__ import annotations

import math
import statistics

import pytest
import torch

from workbench.errors import RecipeError
from workbench.objectives.ppo.baselines import group_normalized, leave_one_out

REWARDS = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
EXACT = 1e-13


def test_leave_one_out() -> None:
    rows = REWARDS.tolist()
    expected = [[r - statistics.fmean(row[:i] + row[i + 1 :]) for i, r in enumerate(row)] for row in rows]
    for found, row in zip(leave_one_out(REWARDS).tolist(), expected, strict=True):
        assert found == pytest.approx(row, rel=EXACT, abs=EXACT)
    # A constant for all responses to a prompt is no news.
    torch.testing.assert_close(leave_one_out(REWARDS + 7), leave_one_out(REWARDS), rtol=0, atol=1e-14)


def test_group_normalisation() -> None:
    every = statistics.stdev([r for row in REWARDS.tolist() for r in row])
    group, batch, none = (group_normalized(REWARDS, s).tolist() for s in ("group", "batch", "none"))
    for at, row in enumerate(REWARDS.tolist()):
        mean = statistics.fmean(row)
        assert none[at] == pytest.approx([r - mean for r in row], rel=EXACT, abs=EXACT)
        scaled = [(r - mean) / (statistics.stdev(row) + 1e-4) for r in row]
        assert group[at] == pytest.approx(scaled, rel=EXACT, abs=EXACT)
        scaled = [(r - mean) / (every + 1e-4) for r in row]
        assert batch[at] == pytest.approx(scaled, rel=EXACT, abs=EXACT)


def test_equal_rewards_teach_nothing() -> None:
    for found in (leave_one_out(torch.ones(2, 4)), group_normalized(torch.full((2, 4), 3.0))):
        assert not found.any()


def test_a_response_without_a_score_is_no_part_of_it() -> None:
    rewards = torch.cat([REWARDS, torch.full((3, 1), math.nan)], 1)
    lonely = torch.tensor([[1.0, math.nan, math.nan, math.nan, math.nan]])
    for advantages in (leave_one_out, group_normalized, lambda r: group_normalized(r, "batch")):
        found = advantages(rewards)
        torch.testing.assert_close(found[:, :4], advantages(REWARDS), rtol=EXACT, atol=EXACT)
        assert not found[:, 4].any()
        assert not advantages(lonely).any()


def test_one_response_has_no_others() -> None:
    for advantages in (leave_one_out, group_normalized):
        with pytest.raises(RecipeError, match="no others") as raised:
            advantages(torch.zeros(3, 1))
        assert "at least two" in raised.value.hint
    assert leave_one_out(torch.ones(1, 2, dtype=torch.bfloat16)).dtype == torch.float32
