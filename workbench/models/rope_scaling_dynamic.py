"""Dynamic NTK as it is meant: the angles of a text follow from its own length, and from nothing else.

transformers keeps the longest length that a model has ever read, so that what it answers depends on what it
was asked before, on the other rows of a batch, and in a packed row on the other documents.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS


def use_exact_dynamic(model: nn.Module) -> int:
    """Have the rotary modules of dynamic NTK in a model reckon by document; how many there are. What is saved
    stays the same, and so is what a single text gives in a model that has read none before."""
    count = 0
    for module in model.modules():
        kind = getattr(module, "rope_type", None)
        kinds = set(kind.values()) if isinstance(kind, dict) else {kind}
        if "dynamic" in kinds and not isinstance(vars(module).get("forward"), _Exact):
            module.forward = _Exact(module)
            count += 1
    return count


class _Exact:
    """The forward of a rotary module."""

    def __init__(self, module: Any) -> None:
        plain = type(module).forward
        while hasattr(plain, "__wrapped__"):
            plain = plain.__wrapped__
        self.module, self.plain = module, plain

    @torch.no_grad()
    def __call__(
        self, x: Tensor, position_ids: Tensor, layer_type: str | None = None
    ) -> tuple[Tensor, Tensor]:
        """Cosines and sines [B, T, D] of positions [B, T]."""
        module = self.module
        given = {} if layer_type is None else {"layer_type": layer_type}
        kind = module.rope_type if layer_type is None else module.rope_type[layer_type]
        if kind != "dynamic":
            found: tuple[Tensor, Tensor] = self.plain(module, x, position_ids, **given)
            return found
        name = "inv_freq" if layer_type is None else f"{layer_type}_inv_freq"
        trained = int(module.config.max_position_embeddings)
        lengths = document_lengths(position_ids).clamp(min=trained)
        before = getattr(module, name)
        cos = sin = torch.empty(0)
        try:
            for length in torch.unique(lengths):
                # As a tensor, for so transformers gives it, and rounds accordingly.
                frequencies, _ = ROPE_INIT_FUNCTIONS["dynamic"](
                    module.config, x.device, seq_len=length, layer_type=layer_type
                )
                setattr(module, name, frequencies)
                own = self.plain(module, x, position_ids, **given)
                if not len(cos):
                    cos, sin = own
                    continue
                is_own = (lengths == length).unsqueeze(-1)
                cos, sin = torch.where(is_own, own[0], cos), torch.where(is_own, own[1], sin)
        finally:
            setattr(module, name, before)
        return cos, sin


def document_lengths(position_ids: Tensor) -> Tensor:
    """For each place of rows of positions [B, T] the length of its document: one more than the last position
    before positions do not go on. Padding counts as documents of its own."""
    begins = torch.ones_like(position_ids, dtype=torch.bool)
    begins[:, 1:] = position_ids.diff(dim=1) != 1
    rows = torch.arange(len(position_ids), device=position_ids.device).unsqueeze(1)
    number = begins.cumsum(1) + rows * (position_ids.shape[1] + 1)
    longest = torch.zeros(int(number.max()) + 1, dtype=position_ids.dtype, device=position_ids.device)
    longest.scatter_reduce_(0, number.flatten(), position_ids.flatten(), "amax")
    return longest[number] + 1
