"""Attention of a flat row as that of its separate rows: the model's own kernel, on the rows themselves.

A mask over the flat row would be exact too, but takes the kernels' slow way, N² numbers, and attention
between completions that is thrown away. Attention is a small part of a step; what is shared is the rest.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from workbench.models.shared_prompt.plan import RowPlan

IMPLEMENTATION = "workbench_shared_prompt"
"""Its name for `set_attn_implementation`."""


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    row_plan: RowPlan | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """Output [1, N, H, d] of query [1, H, N, d], key and value [1, KV, N, d]: causal inside each separate row
    of `row_plan`, and within the layer's window where it says that it has one. Without a plan it is
    transformers' own attention by PyTorch, for samples."""
    if row_plan is None:
        own: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **options
        )
        return own
    window, width = options.get("sliding_window"), row_plan.index.shape[1]
    row_plan.windows.add(window)
    mask = _window_mask(width, window, query.device) if window is not None and width > window else None
    rows = (row_plan.separate(part) for part in (query, key, value))
    output, _ = sdpa_attention_forward(module, *rows, mask, **options)
    return row_plan.together(output), None


def _window_mask(width: int, window: int, device: torch.device) -> Tensor:
    """Booleans [1, 1, L, L]: each place sees itself and the `window` − 1 before it."""
    mask = torch.ones(width, width, dtype=torch.bool, device=device)
    return mask.tril_().triu_(1 - window)[None, None]


def flat_mask(device: torch.device) -> Tensor:
    """A mask that keeps the model from making one of N² places: given in four dimensions, it is passed on as
    it is, and `attend` needs none."""
    return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)


AttentionInterface.register(IMPLEMENTATION, attend)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
