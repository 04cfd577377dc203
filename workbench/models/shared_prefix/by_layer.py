"""A learned table of keys and values, taken apart into layers and its gradient put together again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from workbench.models.shared_prefix.prefix import Layer


def by_layer(table: Tensor, layers: int, heads: int, kind: torch.dtype) -> tuple[Layer, ...]:
    """Keys and values [KV, P, d] of each of L layers, in type `kind`, of a table [P, L·2·KV·d] as PEFT
    keeps it.

    One pass over the table forward, cast included, and one backward; autograd alone would stack what the
    layers give twice, move it into place and cast it.
    """
    parts = _ByLayer.apply(table, 2 * layers, heads, kind)
    return tuple(zip(parts[::2], parts[1::2], strict=True))


class _ByLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, count: int, heads: int, kind: torch.dtype) -> tuple[Tensor, ...]:
        length = len(table)
        size = table.shape[1] // (count * heads)
        ctx.shape, ctx.kind = (length, count, heads, size), table.dtype
        parts = table.new_empty(count, heads, length, size, dtype=kind)
        parts.copy_(table.view(ctx.shape).permute(1, 2, 0, 3))
        return tuple(parts.unbind())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor, None, None, None]:
        length, count, heads, size = ctx.shape
        first = next(grad for grad in grads if grad is not None)
        whole = first.new_empty(ctx.shape, dtype=ctx.kind)
        for index, grad in enumerate(grads):
            if grad is None:
                whole[:, index].zero_()
            else:
                whole[:, index].copy_(grad.transpose(0, 1))
        return whole.view(length, count * heads * size), None, None, None
