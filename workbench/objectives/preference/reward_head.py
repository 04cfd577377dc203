"""Where the last layer of a reward model reads."""

from __future__ import annotations

import torch
from torch import Tensor


def last_real_token(attention_mask: Tensor) -> Tensor:
    """Where each row of a mask [B, T] ends [B], padded on whichever side; 0 for a row of padding."""
    positions = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    return (positions * attention_mask.bool()).amax(1)


def at_last_real_token(values: Tensor, attention_mask: Tensor) -> Tensor:
    """Of values [B, T] or [B, T, d], those at each row's last real token, [B] or [B, d].

    By the mask, not by the id of the padding: that may equal the end of the text.
    """
    rows = torch.arange(values.shape[0], device=values.device)
    return values[rows, last_real_token(attention_mask)]
