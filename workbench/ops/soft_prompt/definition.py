"""What soft-prompt embedding is, in plain PyTorch: any device and floating type.

Letters: B rows of the batch, T tokens of a row, P virtual tokens of a soft prompt, N soft prompts, V entries
of the vocabulary, D size of an embedding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Inputs(NamedTuple):
    """What every path takes: see `soft_prompt_embedding`."""

    ids: Tensor  # [B, T]
    table: Tensor  # [V, D]
    prompt: Tensor  # [P, D] or [N, P, D]
    prompt_index: Tensor | None  # [B], of [N, P, D]
    scale: float | None


def definition(inputs: Inputs) -> Tensor:
    """Embeddings [B, P + T, D] of the table's type: the row's soft prompt, then its tokens, also where these
    begin with padding, as PEFT 0.21 has it (`PeftModelForCausalLM.forward`).

    Differentiable by autograd in the prompt and in the table. Lester et al. 2021 (prompt tuning), section 2.
    """
    ids, table, prompt, index, scale = inputs
    tokens = torch.nn.functional.embedding(ids, table)
    if scale is not None:
        tokens = tokens * torch.tensor(scale, dtype=table.dtype, device=table.device)
    rows = prompt.expand(len(ids), *prompt.shape) if index is None else prompt[index]
    return torch.cat([rows.to(table.dtype), tokens], 1)


def prompt_mask(mask: Tensor, virtual_tokens: int) -> Tensor:
    """The attention mask [B, P + T] of rows whose tokens have the mask [B, T]: the soft prompt is seen."""
    return torch.nn.functional.pad(mask, (virtual_tokens, 0), value=1)


def prompt_labels(labels: Tensor, virtual_tokens: int, ignore_index: int = -100) -> Tensor:
    """The labels [B, P + T] of rows whose tokens have the labels [B, T]: nothing predicts a soft prompt."""
    return torch.nn.functional.pad(labels, (virtual_tokens, 0), value=ignore_index)
