"""Attention by a pattern for layers of transformers: all tokens at once, or new ones behind a cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import flash_attention_mask

from workbench.models.attention.documents import documents_of
from workbench.ops.sparse_attention.attention import sparse_attention
from workbench.ops.sparse_attention.definition import visible
from workbench.ops.sparse_attention.pattern import Pattern

NAME = "workbench_blocks"
"""The implementation of attention by this name makes no mask of length × length."""


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    pattern: Pattern,
    *,
    mask: Tensor | None,
    position_ids: Tensor | None,
    scale: float,
    dropout: float = 0.0,
) -> Tensor:
    """[B, H, L, d] of queries [B, H, L, d], keys and values [B, G, T, d], whose last L are the queries'.

    `mask` [B, T] is False at padding. Behind a cache (T > L), positions say nothing of documents: a row is
    one. With dropout all pairs are computed. Raises `ValueError` for masks of pairs.
    """
    if mask is not None and mask.dim() != 2:
        raise ValueError("attention by blocks takes a mask of tokens [B, T], not one of pairs")
    (batch, _, length, _), reach = query.shape, key.shape[2]
    if reach == length:
        documents = documents_of(mask, position_ids, batch, length)
        if not dropout:
            return sparse_attention(query, key, value, pattern, documents=documents, scale=scale)
    else:
        documents = documents_of(mask, None, batch, reach)
    seen: Tensor | None = None
    if documents is not None or length > 1 or not pattern.covers(reach):
        if documents is None:
            documents = torch.zeros(1, reach, dtype=torch.int64, device=query.device)
        seen = visible(pattern, length, documents)
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=seen,
        dropout_p=dropout,
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def blocked_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    position_ids: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """What transformers' layers with a sliding window call: [B, L, H, d]. Raises `ValueError` for what makes
    attention another than the softmax of scores."""
    if unlike := [name for name in ("position_bias", "softcap", "s_aux") if others.get(name) is not None]:
        raise ValueError(f"attention by blocks knows no {', '.join(unlike)}")
    found = attend(
        query,
        key,
        value,
        Pattern(sliding_window),
        mask=attention_mask,
        position_ids=position_ids,
        scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
        dropout=dropout,
    )
    return found.transpose(1, 2).contiguous(), None


def register_attention() -> None:
    """Make the implementation known to transformers."""
    AttentionInterface.register(NAME, blocked_attention)
    # A mask of tokens where there is padding, else none: as flash attention takes it.
    AttentionMaskInterface.register(NAME, flash_attention_mask)


def use_blocks(model: Any) -> bool:
    """Have a decoder of transformers with sliding windows attend by blocks. Whether it does: only where
    PyTorch's attention was to be used, and some layer has a window."""
    text = model.config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ())
    has_window = getattr(text, "sliding_window", None) and (not kinds or "sliding_attention" in kinds)
    if not has_window or text.model_type not in WINDOWED or model.config._attn_implementation != "sdpa":
        return False
    register_attention()
    model.set_attn_implementation(NAME)
    return True


WINDOWED = ("mistral", "ministral", "qwen2", "qwen3")
"""Kinds whose layers hand their window and positions to attention, and add nothing to scores."""
