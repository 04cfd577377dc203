"""Attention over a prefix copied before each row's keys: for what the operator has no place for."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def concatenated_attention(
    query: Tensor,
    before: tuple[Tensor, Tensor],
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    *,
    scale: float,
    dropout: float = 0.0,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Output [B, H, S, d] and, if asked for, weights [B, H, S, P + T], as transformers' eager attention
    has them.

    `before` is [KV, P, d] of keys and of values; `mask` [B or 1, 1, S, P + T] is boolean, or added to the
    scores. `softcap` c makes scores c·tanh(score / c) (Gemma 2, arXiv 2408.00118, section 2); `sinks` [H]
    are scores of a key that has no value (gpt-oss).
    """
    groups = query.shape[1] // key.shape[1]
    keys, values = (_joined(shared, own, groups) for shared, own in zip(before, (key, value), strict=True))
    if mask.dtype == torch.bool:
        # The least number, not −∞: a query that sees nothing gets a mean, not NaN.
        least = torch.finfo(query.dtype).min
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, least)
    if not weights and softcap is None and sinks is None:
        return functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=mask.to(query.dtype), dropout_p=dropout, scale=scale
        ), None
    scores = query @ keys.transpose(-1, -2) * scale
    if softcap is not None:
        scores = (scores / softcap).tanh() * softcap
    scores = scores + mask
    if sinks is not None:
        column = sinks.to(scores.dtype).view(1, -1, 1, 1).expand(*scores.shape[:-1], 1)
        scores = torch.cat([scores, column], -1)
    shares = scores.softmax(-1, dtype=torch.float32).to(query.dtype)[..., : keys.shape[2]]
    shares = functional.dropout(shares, dropout)
    return shares @ values, shares


def _joined(shared: Tensor, own: Tensor, groups: int) -> Tensor:
    """[B, KV·groups, P + T, d] of [KV, P, d] and [B, KV, T, d]."""
    together = torch.cat([shared[None].expand(len(own), -1, -1, -1), own], 2)
    return together.repeat_interleave(groups, 1) if groups > 1 else together
