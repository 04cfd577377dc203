"""Soft prompts of PEFT: learnt vectors, or keys and values, that stand before every prompt."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class SoftPrompt:
    """`length` virtual tokens: as `embeddings` [n, D] before the input (prompt tuning: Lester et al. 2021;
    P-tuning: Liu et al. 2021), or as `keys_values`, two tensors [H, n, D] a layer (prefix tuning: Li & Liang
    2021). Of an encoder–decoder, embeddings are the encoder's and keys and values the decoder's."""

    length: int
    embeddings: torch.Tensor | None = None
    keys_values: tuple[tuple[torch.Tensor, torch.Tensor], ...] | None = None
