"""Which keys a query sees: the patterns of sparse attention, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pattern:
    """What query i sees of the keys j ≤ i of its own document.

    The `window` last ones, itself among them (all where it is None); the `global_tokens` first of the
    document (Longformer, Beltagy et al. 2020, section 3; as attention sinks, Xiao et al. 2023); with a
    `stride`, those with (i − j) mod stride = 0 (Child et al. 2019, section 4.2, strided). What several of
    them name counts once. Raises `ValueError` for global tokens or a stride without a window, and for both.
    """

    window: int | None = None
    global_tokens: int = 0
    stride: int | None = None

    def __post_init__(self) -> None:
        if (self.global_tokens or self.stride) and (self.window is None or self.window < 1):
            raise ValueError("global tokens and strides stand beside a window")
        if self.global_tokens and self.stride:
            raise ValueError("global tokens and a stride are two patterns")

    @property
    def is_full(self) -> bool:
        """Whether nothing is left out."""
        return self.window is None

    def covers(self, length: int) -> bool:
        """Whether rows of so many tokens lose nothing by it."""
        return self.window is None or self.window >= length or self.stride == 1

    def sees(self, distance: Tensor, place: Tensor) -> Tensor:
        """Whether keys are seen that lie `distance` before their query and at `place` in its document."""
        seen = distance >= 0
        if self.window is None:
            return seen
        near = distance < self.window
        if self.global_tokens:
            near = near | (place < self.global_tokens)
        if self.stride is not None:
            near = near | (distance % self.stride == 0)
        return seen & near


def starts_of(documents: Tensor) -> Tensor:
    """Where the document of each place begins [B, L], from the documents' numbers [B, L]."""
    places = torch.arange(documents.shape[1], device=documents.device)
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return torch.where(begins, places, 0).cummax(1).values
