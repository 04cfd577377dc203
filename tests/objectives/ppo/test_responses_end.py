"""Where a generated response ends."""

from __future__ import annotations

import torch

from workbench.objectives.ppo.responses import truncate_at_end


def test_the_first_end_is_the_last_real_token() -> None:
    # 0 is the end and the padding, 7 another end.
    tokens = torch.tensor([[5, 0, 0, 0], [5, 6, 5, 6], [0, 5, 5, 0], [5, 5, 7, 0], [5, 6, 5, 0]])
    found = truncate_at_end(tokens, {0, 7})
    assert found.lengths.tolist() == [2, 4, 1, 3, 4]
    assert found.ended.tolist() == [True, False, True, True, True]
    assert found.mask.long().tolist() == [[1] * n + [0] * (4 - n) for n in (2, 4, 1, 3, 4)]
    # No end is known: all is real, nothing ended.
    found = truncate_at_end(tokens, [])
    assert found.mask.all() and not found.ended.any()
