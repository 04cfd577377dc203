"""Where a reward model reads its score."""

from __future__ import annotations

import torch

from workbench.objectives.preference.reward_head import at_last_real_token, last_real_token


def test_reads_at_the_last_real_token_on_whichever_side_padding_stands() -> None:
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    assert last_real_token(mask).tolist() == [1, 3, 2, 3, 0]
    values = torch.arange(20.0).view(5, 4)
    assert at_last_real_token(values, mask).tolist() == [1, 7, 10, 15, 16]
    assert at_last_real_token(torch.stack([values, -values], 2), mask)[1].tolist() == [7, -7]
