"""Logits a few rows at a time, and the gradient of the weight that they were made with."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.ops.decoder_training.products import transposed_times

CHUNK = 128 << 20
"""Bytes of logits at a time: products of fewer rows are slower, and the weight's gradient is added up once
for each chunk."""
LEAST_ROWS = 256
SLICE = 4096
"""Rows of the weight whose gradients are added up at a time: products of a transposed matrix copy it, and so
they copy a part of a chunk instead of all of it."""


def chunks(count: int, head: Tensor) -> list[slice]:
    """Parts of `count` rows, about equal, whose logits under a head [V, D] are a chunk each."""
    most = max(LEAST_ROWS, CHUNK // (len(head) * head.element_size()))
    parts = max(1, -(-count // most))
    rows = max(1, -(-count // parts))
    return [slice(start, start + rows) for start in range(0, count, rows)]


def add_product(total: Tensor, slopes: Tensor, states: Tensor) -> None:
    """Adds slopesᵀ states to total [V, D] in fp32, of gradients of logits [N, V] and hidden states [N, D]."""
    for start in range(0, len(total), SLICE):
        part = slice(start, start + SLICE)
        total[part] += transposed_times(slopes[:, part], states).to(torch.float32)
