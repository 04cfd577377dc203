"""The composed path: PyTorch's fused attention for the prefix and for the own keys, merged by their
log-sum-exps; backward, each segment's own backward is given the merged output and log-sum-exp.

That is exact. The derivative of a score s with probability p = exp(s − L) is p (⟨dO, v⟩ − ⟨dO, O⟩), and a
flash backward computes just that from whatever L and O it is given (Dao 2023, FlashAttention-2, section
3.1). With those of all keys each segment yields its part, and the rows of the batch, folded into the queries
of one attention over the prefix, add up its gradient by themselves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.ops.shared_prefix.definition import Gradients, Inputs, visible_own
from workbench.ops.shared_prefix.merge import merge
from workbench.ops.shared_prefix.segments import attend, attend_backward, unseen

FEW = 64
"""Up to so many queries of all rows, the heads that share keys are folded into the queries as well: products
of few rows are slow, and copying those costs little."""


class _Own:
    """How the queries of a row see its own keys, in the flash operators' words."""

    def __init__(self, query: Tensor, key: Tensor, starts: Tensor | None, ends: Tensor | None) -> None:
        queries, own = query.shape[2], key.shape[2]
        is_whole = starts is None and ends is None
        self.is_causal = is_whole and queries == own and queries > 1
        self.mask: Tensor | None = None
        self.blind: Tensor | None = None
        """Queries that see no own key [B or 1, 1, S]."""
        if is_whole and (self.is_causal or queries == 1):
            return
        seen = visible_own(queries, own, starts, ends, query.device)[:, None]
        zero = torch.zeros((), dtype=query.dtype, device=query.device)
        self.mask = torch.where(seen, zero, unseen(query)).expand(len(query), 1, queries, own)
        if not is_whole:
            self.blind = ~seen.any(-1)


def _fold(x: Tensor, kv_heads: int) -> Tensor:
    """The rows of the batch as queries of one attention: [1, H, B S, d], or [1, KV, B S G, d] for few.

    Models keep [B, S, H, d] in memory and show it as [B, H, S, d]: then the first of them copies nothing.
    """
    batch, heads, queries, size = x.shape
    rows = x.transpose(1, 2)
    if batch * queries <= FEW:
        rows = rows.reshape(batch * queries, kv_heads, heads // kv_heads, size).transpose(1, 2)
        return rows.reshape(-1, kv_heads, size).transpose(0, 1)[None]
    return rows.reshape(batch * queries, heads, size).transpose(0, 1)[None]


def _unfold(x: Tensor, like: Tensor) -> Tensor:
    """Back to the shape of `like` [B, H, S, d]; also without the last dimension."""
    batch, heads, queries, size = like.shape
    rest = x.shape[3:]
    kv_heads = x.shape[1]
    if batch * queries <= FEW:
        x = x[0].transpose(0, 1).reshape(batch * queries, heads // kv_heads, kv_heads, *rest).transpose(1, 2)
        return x.reshape(batch, queries, heads, *rest).transpose(1, 2)
    return x[0].transpose(0, 1).reshape(batch, queries, heads, *rest).transpose(1, 2)


def composed(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """See `definition`; scores and sums are in fp32."""
    query, prefix_key, prefix_value, key, value, starts, ends, scale = inputs
    folded = _fold(query, len(prefix_key))
    before, before_lse = attend(
        folded, prefix_key[None], prefix_value[None], is_causal=False, mask=None, scale=scale
    )
    own = _Own(query, key, starts, ends)
    after, after_lse = attend(query, key, value, is_causal=own.is_causal, mask=own.mask, scale=scale)
    if own.blind is not None:
        # For a query that sees nothing the operator gives 0, as if it had seen one key of score 0.
        after_lse = after_lse.masked_fill(own.blind, -torch.inf)
    return merge(_unfold(before, query), _unfold(before_lse, query), after, after_lse)


def composed_backward(inputs: Inputs, grad: Tensor, output: Tensor, lse: Tensor) -> Gradients:
    """Gradients of the five tensors, in their order, from that of the output [B, H, S, d]."""
    query, prefix_key, prefix_value, key, value, starts, ends, scale = inputs
    kv_heads = len(prefix_key)
    of_query, of_prefix_key, of_prefix_value = attend_backward(
        _fold(grad, kv_heads),
        _fold(query, kv_heads),
        prefix_key[None],
        prefix_value[None],
        _fold(output, kv_heads),
        _fold(lse[..., None], kv_heads)[..., 0].contiguous(),
        is_causal=False,
        mask=None,
        scale=scale,
    )
    own = _Own(query, key, starts, ends)
    more, of_key, of_value = attend_backward(
        grad, query, key, value, output, lse, is_causal=own.is_causal, mask=own.mask, scale=scale
    )
    return more.add_(_unfold(of_query, query)), of_prefix_key[0], of_prefix_value[0], of_key, of_value
