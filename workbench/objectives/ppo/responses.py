"""Where a generated response ends."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Responses:
    """`mask` [B, T], 1 at tokens up to and with the first end; `ended` [B], whether there was one; `lengths`
    [B] in tokens, the end included."""

    mask: Tensor
    ended: Tensor
    lengths: Tensor


def truncate_at_end(tokens: Tensor, end_ids: Collection[int]) -> Responses:
    """Cut generated tokens [B, T] off after the first that ends a response.

    Known by the id of the end, not by that of the padding: that may equal the end, and what follows the
    first end is padding whatever it is. A response without an end is real to its last token.
    """
    ends = torch.isin(tokens, torch.tensor(sorted(end_ids), dtype=tokens.dtype, device=tokens.device))
    # Ends before each token, this one not counted.
    before = ends.cumsum(1) - ends.long()
    mask = before == 0
    return Responses(mask, ends.any(1), mask.sum(1))
