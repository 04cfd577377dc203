"""The attention that a decoder of transformers calls by name when a shared prefix stands before its rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface

from workbench.errors import ModelError
from workbench.models.shared_prefix.concatenated import concatenated_attention
from workbench.models.shared_prefix.mask import shared_prefix_mask
from workbench.models.shared_prefix.prefix import Layer, PassedPrefix
from workbench.ops.shared_prefix.attention import shared_prefix_attention
from workbench.ops.shared_prefix.definition import visible_own

IMPLEMENTATION = "workbench_shared_prefix"
"""Its name for `set_attn_implementation`."""


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    shared_prefix: PassedPrefix | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    position_bias: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, Tensor | None]:
    """Output [B, S, H, d] and weights, as `AttentionInterface` asks for them, of query [B, H, S, d] behind
    `shared_prefix` and own key and value [B, KV, T, d]; masks as `shared_prefix_mask` makes them, or
    [B, 1, S, T or P + T].

    Attention dropout, asked-for weights, capped scores, sinks and masks that are no padding go the
    concatenated way, with the result of transformers' eager attention. Raises `ModelError` when no prefix
    came with the call or it is of other shapes, and for attention that is not causal or biased by position.
    """
    where = f"layer {module.layer_idx} of {type(module).__name__}"
    if shared_prefix is None:
        raise ModelError(
            "attention to a shared prefix was called without one",
            where=where,
            hint="call the model with past_key_values=SharedPrefixCache(...), or undo its preparation",
        )
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if position_bias is not None or not causal:
        raise ModelError(
            "a shared prefix goes before causal attention without a bias of positions only", where=where
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    before = shared_prefix.layer(module.layer_idx, key, value)
    query, key, value, before = _of_one_type(query, key, value, before)
    weights = shared_prefix.weights
    special = dropout > 0 or weights or softcap is not None or s_aux is not None
    masked = attention_mask is not None and attention_mask.ndim == 4
    if special or masked or key.shape[-1] != value.shape[-1]:
        mask = _whole(attention_mask, before[0].shape[1], query, key.shape[2], where)
        output, shares = concatenated_attention(
            query,
            before,
            key,
            value,
            mask,
            scale=scale,
            dropout=dropout,
            softcap=softcap,
            sinks=s_aux,
            weights=weights,
        )
        return output.transpose(1, 2).contiguous(), shares if weights else None
    starts, ends = (None, None) if attention_mask is None else attention_mask.to(query.device).unbind()
    output = shared_prefix_attention(query, *before, key, value, starts=starts, ends=ends, scale=scale)
    return output.transpose(1, 2).contiguous(), None


def _of_one_type(
    query: Tensor, key: Tensor, value: Tensor, before: Layer
) -> tuple[Tensor, Tensor, Tensor, Layer]:
    """All in the type in which attention is computed: under autocast, its own, as for PyTorch's attention."""
    kind = query.dtype
    device = query.device.type
    if torch.is_autocast_enabled(device):
        kind = torch.get_autocast_dtype(device)
    return query.to(kind), key.to(kind), value.to(kind), (before[0].to(kind), before[1].to(kind))


def _whole(mask: Tensor | None, prefix: int, query: Tensor, own: int, where: str) -> Tensor:
    """A mask over prefix and own keys, [B or 1, 1, S, P + T], of one in any of the forms that come."""
    if mask is None or mask.ndim != 4:
        starts, ends = (None, None) if mask is None else mask.unbind()
        mask = visible_own(query.shape[2], own, starts, ends, query.device)[:, None]
    if mask.shape[-1] == prefix + own:
        return mask
    if mask.shape[-1] != own:
        raise ModelError(
            f"the attention mask {list(mask.shape)} is for {mask.shape[-1]} keys; there are {own} own ones "
            f"behind a prefix of {prefix}",
            where=where,
        )
    seen = mask.new_ones if mask.dtype == torch.bool else mask.new_zeros
    return torch.cat([seen(*mask.shape[:-1], prefix), mask], -1)


AttentionInterface.register(IMPLEMENTATION, attend)
AttentionMaskInterface.register(IMPLEMENTATION, shared_prefix_mask)
