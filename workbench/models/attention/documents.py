"""Which document each token of a batch belongs to, read from what a model is called with."""

from __future__ import annotations

import torch
from torch import Tensor


def documents_of(mask: Tensor | None, position_ids: Tensor | None, batch: int, length: int) -> Tensor | None:
    """Numbers [B, L], −1 for padding; None where every row is one document without padding.

    A document begins where positions do not go on, as transformers reads packed rows; `mask` [B, L] is
    False at padding.
    """
    documents = None
    if position_ids is not None and position_ids.shape[-1] == length and length > 1:
        positions = position_ids.expand(batch, length)
        begins = positions.diff() != 1
        if bool(begins.any()):
            documents = torch.nn.functional.pad(begins.cumsum(1), (1, 0))
    if mask is None:
        return documents
    if documents is None:
        documents = torch.zeros(batch, length, dtype=torch.int64, device=mask.device)
    return torch.where(mask.bool(), documents, -1)
