"""Sparse attention in time and memory that grow with what is seen, not with the square of the length.

Rows are cut into pieces (`parts`) that PyTorch's fused attention takes; two parts are merged by their
log-sum-exps, and backward each part is given the merged ones: exact, see `ops.shared_prefix.composed`.
Nothing of the size of length × length is made, nor kept for the backward pass: that keeps queries, keys,
values, the output and one number for each query and head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from workbench.ops.shared_prefix.merge import merge
from workbench.ops.shared_prefix.segments import attend, attend_backward, unseen
from workbench.ops.sparse_attention.definition import visible
from workbench.ops.sparse_attention.parts import Local, Part, Strided
from workbench.ops.sparse_attention.pattern import Pattern

MASK_BYTES = 16 << 20
"""Of the masks that exist at a time: so many pieces are computed in one call."""


def sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    pattern: Pattern,
    *,
    documents: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Output [B, H, L, d] of queries [B, H, L, d] over keys and values [B, G, L, d], each seeing what the
    pattern lets it of its own document: `documents` [B, L] are runs of equal numbers, −1 for padding; None
    where each row is one. Under autocast in its precision.

    Where the pattern leaves nothing out, it is PyTorch's own attention.
    """
    if query.shape[2] != key.shape[2]:
        raise ValueError(f"{query.shape[2]} queries and {key.shape[2]} keys")
    device = query.device.type
    if torch.is_autocast_enabled(device):
        kind = torch.get_autocast_dtype(device)
        query, key, value = (one.to(kind) for one in (query, key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    batch, _, length, _ = query.shape
    if pattern.covers(length):
        mask = None if documents is None else visible(Pattern(), length, documents)
        return scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            is_causal=mask is None,
            scale=scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )
    place = (batch, length, documents, query.device)
    parts: list[Part] = [Local(pattern, *place)]
    if pattern.stride is not None and length > (pattern.window or 0):
        parts.append(Strided(pattern, *place))
    found: Tensor = _Sparse.apply(query, key, value, parts, scale)
    return found


class _Sparse(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, parts: list[Part], scale: float
    ) -> Tensor:
        output, lse = _forward(parts[0], query, key, value, scale)
        for part in parts[1:]:
            output, lse = merge(output, lse, *_forward(part, query, key, value, scale))
        ctx.save_for_backward(query, key, value, output, lse)
        ctx.parts, ctx.scale = parts, scale
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, lse = ctx.saved_tensors
        grad = gradients[0]
        total: list[Tensor] | None = None
        for part in ctx.parts:
            found = _backward(part, grad, query, key, value, output, lse, ctx.scale)
            total = (
                found if total is None else [one.add_(more) for one, more in zip(total, found, strict=True)]
            )
        assert total is not None
        return (*total, None, None)


def _pieces(part: Part, folded: Tensor, keys: Tensor) -> list[slice]:
    """Pieces a call takes together."""
    each = folded.shape[2] * keys.shape[2] * folded.element_size()
    most = max(1, MASK_BYTES // each)
    return [slice(at, min(at + most, len(folded))) for at in range(0, len(folded), most)]


def _mask(part: Part, pieces: slice, like: Tensor) -> tuple[Tensor, Tensor]:
    """What is added to scores, and which queries see nothing [n, 1, span]."""
    seen = part.seen(pieces.start, pieces.stop)
    zero = torch.zeros((), dtype=like.dtype, device=like.device)
    mask = torch.where(seen, zero, unseen(like)).expand(pieces.stop - pieces.start, -1, -1, -1)
    return mask, ~seen.any(-1)


def _forward(part: Part, query: Tensor, key: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    folded, keys, values = part.fold(query), part.keys(key), part.keys(value)
    outputs, sums = [], []
    for pieces in _pieces(part, folded, keys):
        mask, blind = _mask(part, pieces, folded)
        output, lse = attend(
            folded[pieces], keys[pieces], values[pieces], is_causal=False, mask=mask, scale=scale
        )
        outputs.append(output)
        # For a query that sees nothing the operator gives 0, as if it had seen one key of score 0.
        sums.append(lse.masked_fill(blind, -torch.inf))
    return part.unfold(torch.cat(outputs)), part.unfold(torch.cat(sums))


def _backward(
    part: Part,
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor,
    scale: float,
) -> list[Tensor]:
    folded, keys, values = part.fold(query), part.keys(key), part.keys(value)
    grads, outputs, sums = part.fold(grad), part.fold(output), part.fold(lse)
    found: list[list[Tensor]] = [[], [], []]
    for pieces in _pieces(part, folded, keys):
        mask, _ = _mask(part, pieces, folded)
        some = (grads[pieces], folded[pieces], keys[pieces], values[pieces])
        back = attend_backward(
            *some, outputs[pieces], sums[pieces].contiguous(), is_causal=False, mask=mask, scale=scale
        )
        for kept, one in zip(found, back, strict=True):
            kept.append(one)
    of_query, of_key, of_value = (torch.cat(some) for some in found)
    return [part.unfold(of_query), part.keys_gradient(of_key), part.keys_gradient(of_value)]
