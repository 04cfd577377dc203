"""Vectors by slot and column, in tensors that grow: the keys, or the values, of one layer of many sequences.

S slots, G heads, C columns, d the size of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.inference.engine.kv_codecs import Codec

Slots = slice | Tensor
"""A range of slots, which is seen without a copy, or their numbers."""


class KvStore:
    """[S, G, C, d], kept by a codec."""

    def __init__(self, heads: int, size: int, codec: Codec, device: torch.device) -> None:
        self.codec, self.heads = codec, heads
        self.parts = [
            torch.zeros(0, heads, 0, width, dtype=kind, device=device) for width, kind in codec.widths(size)
        ]

    @property
    def bytes(self) -> int:
        """What it takes, used or not."""
        return sum(part.numel() * part.element_size() for part in self.parts)

    @property
    def bytes_per_token(self) -> int:
        """What a column of a slot takes."""
        return sum(self.heads * part.shape[-1] * part.element_size() for part in self.parts)

    @property
    def columns(self) -> int:
        """Columns there are."""
        return self.parts[0].shape[2]

    def resize(self, slots: int, columns: int) -> None:
        """Room for so many; what lies within is kept."""
        for number, old in enumerate(self.parts):
            new = old.new_zeros(slots, self.heads, columns, old.shape[-1])
            s, c = min(slots, old.shape[0]), min(columns, old.shape[2])
            new[:s, :, :c] = old[:s, :, :c]
            self.parts[number] = new

    def write(self, slot: int, columns: Tensor, x: Tensor) -> None:
        """Put vectors [G, n, d] into columns [n] of a slot."""
        for part, new in zip(self.parts, self.codec.encode(x), strict=True):
            part[slot].index_copy_(1, columns, new)

    def write_tokens(self, slots: Tensor, columns: Tensor, x: Tensor) -> None:
        """Put one vector [B, G, d] into a column [B] of each slot [B]."""
        for part, new in zip(self.parts, self.codec.encode(x), strict=True):
            part[slots, :, columns] = new

    def first(self, slots: Slots, columns: int) -> Tensor:
        """The first columns [B, G, n, d] of some slots."""
        return self.codec.decode([part[slots, :, :columns] for part in self.parts])

    def at(self, slots: Tensor, columns: Tensor) -> Tensor:
        """Some columns [B, n] of each slot [B]: [B, G, n, d]."""
        found = [part[slots[:, None], :, columns].transpose(1, 2) for part in self.parts]
        return self.codec.decode(found)

    def copy(self, source: int, target: int) -> None:
        """Copy a slot over another."""
        for part in self.parts:
            part[target] = part[source]
