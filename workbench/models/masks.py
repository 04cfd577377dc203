"""Attention masks that keep packed documents apart, in the form that each architecture takes."""

from __future__ import annotations

from typing import Any

import torch


def block_mask(
    queries: torch.Tensor, keys: torch.Tensor | None = None, *, causal: bool = False
) -> torch.Tensor:
    """Who sees whom, as booleans [B, 1, Q, K]: only tokens of the same document, earlier ones if `causal`.

    `queries` [B, Q] and `keys` [B, K] are document numbers, −1 for padding. Padding sees padding, never
    nothing, so that no row of a softmax is empty; no token sees it.
    """
    keys = queries if keys is None else keys
    mask = queries[:, :, None] == keys[:, None, :]
    if causal:
        mask = mask.tril()
    if keys is not queries:
        # A query of padding whose keys have no padding would see nothing at all.
        mask = mask | ~mask.any(-1, keepdim=True)
    return mask[:, None]


def additive_mask(mask: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    """A boolean mask as what is added to scores of attention, which every implementation takes: 0, or the
    least number there is."""
    return torch.zeros_like(mask, dtype=kind).masked_fill(~mask, torch.finfo(kind).min)


def call_encoder(
    model: Any,
    input_ids: torch.Tensor,
    position_ids: torch.Tensor,
    document_ids: torch.Tensor,
    token_type_ids: torch.Tensor | None = None,
    **options: Any,
) -> Any:
    """Call an encoder (BERT, ELECTRA, ModernBERT; bare or with a head) on rows of several documents.

    `input_ids`, `position_ids`, `document_ids` [B, L]; positions start anew in each document, and no
    token attends to another document.
    """
    inner = getattr(model, "module", model)
    config, local = inner.config, inner.config.model_type == "modernbert"
    masks = {"full_attention": block_mask(document_ids)}
    if local:
        near = (position_ids[:, :, None] - position_ids[:, None, :]).abs() <= config.local_attention // 2
        masks["sliding_attention"] = masks["full_attention"] & near[:, None]
    if config._attn_implementation == "eager":
        # Eager attention adds its mask: True would be one more on the score of what is seen.
        kind = next(inner.parameters()).dtype
        masks = {name: additive_mask(mask, kind) for name, mask in masks.items()}
    if token_type_ids is not None and not local:
        options["token_type_ids"] = token_type_ids
    mask = masks if local else masks["full_attention"]
    return model(input_ids=input_ids, position_ids=position_ids, attention_mask=mask, **options)
