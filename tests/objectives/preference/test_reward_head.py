"""Where a reward model starts, reads and has its zero."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from workbench.errors import ModelError
from workbench.objectives.preference.reward_head import (
    at_last_real_token,
    center_on_references,
    initialize_reward_head,
    last_real_token,
)


def test_weights_start_small_and_the_bias_at_0() -> None:
    head = nn.Linear(4095, 1)
    initialize_reward_head(head, torch.Generator().manual_seed(0))
    # Standard errors: 1/64 of the mean's, 1/√(2·4095) of the deviation's.
    assert head.weight.mean().item() == pytest.approx(0, abs=4 / 64 / 64)
    assert head.weight.std().item() == pytest.approx(1 / 64, rel=4 / 90)
    assert head.bias.item() == 0
    again = nn.Linear(4095, 1, bias=False, dtype=torch.bfloat16)
    initialize_reward_head(again, torch.Generator().manual_seed(0))
    assert torch.equal(again.weight, head.weight.bfloat16())


def test_reads_at_the_last_real_token_on_whichever_side_padding_stands() -> None:
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    assert last_real_token(mask).tolist() == [1, 3, 2, 3, 0]
    values = torch.arange(20.0).view(5, 4)
    assert at_last_real_token(values, mask).tolist() == [1, 7, 10, 15, 16]
    assert at_last_real_token(torch.stack([values, -values], 2), mask)[1].tolist() == [7, -7]


def test_references_score_0_once_the_bias_is_shifted() -> None:
    head = nn.Linear(8, 1, dtype=torch.float64)
    hidden = torch.randn(50, 8, dtype=torch.float64)
    before = head(hidden).squeeze(1)
    shift = center_on_references(head, before)
    after = head(hidden).squeeze(1)
    assert float(after.mean().detach()) == pytest.approx(0, abs=1e-14)
    torch.testing.assert_close(after, before + shift)
    with pytest.raises(ModelError, match="no bias"):
        center_on_references(nn.Linear(8, 1, bias=False), before)
    with pytest.raises(ModelError, match="no reference"):
        center_on_references(head, before[:0])
