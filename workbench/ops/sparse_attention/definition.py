"""What sparse attention is: the softmax over the keys that a mask leaves, in plain PyTorch.

B rows, H heads of queries, G of keys, L queries, T ≥ L keys of which the last L are the queries' own, d the
size of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.ops.sparse_attention.pattern import Pattern, starts_of


def visible(pattern: Pattern, queries: int, documents: Tensor) -> Tensor:
    """Who sees whom, [B, 1, L, T], of rows whose keys belong to `documents` [B, T]: runs of equal numbers,
    −1 for padding, which sees padding, and which nothing else sees."""
    keys = documents.shape[1]
    places = torch.arange(keys, device=documents.device)
    distance = places[keys - queries :, None] - places[None]
    place = places - starts_of(documents)
    seen = pattern.sees(distance, place[:, None])
    return (seen & (documents[:, keys - queries :, None] == documents[:, None]))[:, None]


def definition(
    query: Tensor, key: Tensor, value: Tensor, pattern: Pattern, documents: Tensor, scale: float
) -> Tensor:
    """Output [B, H, L, d]; scores and sums in fp32 (fp64 of fp64)."""
    mask = visible(pattern, query.shape[2], documents)
    precise = torch.promote_types(query.dtype, torch.float32)
    groups = query.shape[1] // key.shape[1]
    keys, values = (one.repeat_interleave(groups, 1).to(precise) for one in (key, value))
    scores = (query.to(precise) @ keys.transpose(2, 3) * scale).masked_fill(~mask, -torch.inf)
    return (scores.softmax(-1) @ values).to(query.dtype)
