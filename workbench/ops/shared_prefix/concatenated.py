"""The path of short prefixes: expanded over the batch and concatenated with the own keys, then PyTorch's
fused attention. It copies every key, and spares the second attention."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.ops.shared_prefix.definition import Gradients, Inputs, visible_own
from workbench.ops.shared_prefix.segments import attend, attend_backward, unseen


def _together(prefix: Tensor, own: Tensor) -> Tensor:
    return torch.cat([prefix.expand(len(own), *prefix.shape), own], 2)


def _mask(query: Tensor, prefix: int, own: int, starts: Tensor | None, ends: Tensor | None) -> Tensor | None:
    """Added to the scores [B or 1, 1, S, P + T]; None where everything is seen."""
    batch, _, queries, _ = query.shape
    if starts is None and ends is None and queries == 1:
        return None
    seen = visible_own(queries, own, starts, ends, query.device)[:, None]
    zero = torch.zeros((), dtype=query.dtype, device=query.device)
    mask = torch.where(seen, zero, unseen(query))
    return torch.nn.functional.pad(mask, (prefix, 0)).expand(batch, 1, queries, prefix + own)


def concatenated(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """See `definition`; scores and sums are in fp32."""
    query, prefix_key, prefix_value, key, value, starts, ends, scale = inputs
    mask = _mask(query, prefix_key.shape[1], key.shape[2], starts, ends)
    keys, values = _together(prefix_key, key), _together(prefix_value, value)
    return attend(query, keys, values, is_causal=False, mask=mask, scale=scale)


def concatenated_backward(inputs: Inputs, grad: Tensor, output: Tensor, lse: Tensor) -> Gradients:
    """Gradients of the five tensors, in their order, from that of the output [B, H, S, d]."""
    query, prefix_key, prefix_value, key, value, starts, ends, scale = inputs
    prefix = prefix_key.shape[1]
    mask = _mask(query, prefix, key.shape[2], starts, ends)
    keys, values = _together(prefix_key, key), _together(prefix_value, value)
    of_query, of_keys, of_values = attend_backward(
        grad, query, keys, values, output, lse, is_causal=False, mask=mask, scale=scale
    )
    return (
        of_query,
        of_keys[:, :, :prefix].sum(0),
        of_values[:, :, :prefix].sum(0),
        of_keys[:, :, prefix:],
        of_values[:, :, prefix:],
    )
