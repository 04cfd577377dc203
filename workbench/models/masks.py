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
    mask: Any = block_mask(document_ids)
    config = getattr(model, "module", model).config
    if config.model_type == "modernbert":
        near = (position_ids[:, :, None] - position_ids[:, None, :]).abs() <= config.local_attention // 2
        mask = {"full_attention": mask, "sliding_attention": mask & near[:, None]}
    elif token_type_ids is not None:
        options["token_type_ids"] = token_type_ids
    return model(input_ids=input_ids, position_ids=position_ids, attention_mask=mask, **options)
