"""Vectors by slot and column, in tensors that grow: the keys, or the values, of one layer of many sequences.

G heads, C columns of a slot, d the size of a head. Each slot has tensors of its own, so that a long sequence
takes nothing from the short ones beside it.
"""

from __future__ import annotations

from collections.abc import Sequence as Many

import torch
from torch import Tensor

from workbench.inference.engine.kv_codecs import Codec


class KvStore:
    """[G, C, d] of each slot, kept by a codec."""

    def __init__(self, heads: int, size: int, codec: Codec, device: torch.device) -> None:
        self.codec, self.heads, self.device = codec, heads, device
        self.widths = codec.widths(size)
        self.slots: list[list[Tensor]] = []

    @property
    def bytes(self) -> int:
        """What it takes, used or not."""
        return sum(part.numel() * part.element_size() for parts in self.slots for part in parts)

    @property
    def bytes_per_token(self) -> int:
        """What a column of a slot takes."""
        return sum(self.heads * width * kind.itemsize for width, kind in self.widths)

    def columns(self, slot: int) -> int:
        """Columns that a slot has."""
        return self.slots[slot][0].shape[1]

    def add(self) -> None:
        """One more slot, without a column."""
        self.slots.append(
            [torch.zeros(self.heads, 0, width, dtype=kind, device=self.device) for width, kind in self.widths]
        )

    def remove(self, slot: int) -> None:
        """Free a slot; the last one takes its number."""
        self.slots[slot] = self.slots[-1]
        self.slots.pop()

    def resize(self, slot: int, columns: int) -> None:
        """Give a slot so many columns; what lies within is kept."""
        parts = self.slots[slot]
        for number, old in enumerate(parts):
            # Empty: what is there is written before it is seen.
            new = old.new_empty(self.heads, columns, old.shape[-1])
            kept = min(columns, old.shape[1])
            new[:, :kept] = old[:, :kept]
            parts[number] = new

    def copy(self, source: int, target: int, columns: int) -> None:
        """Copy a slot's first columns over another slot."""
        self.slots[target] = [part[:, :columns].clone() for part in self.slots[source]]

    def write(self, slot: int, columns: Tensor, x: Tensor) -> None:
        """Put vectors [G, n, d] into columns [n] of a slot."""
        for part, new in zip(self.slots[slot], self.codec.encode(x), strict=True):
            part.index_copy_(1, columns, new)

    def write_tokens(self, slots: Many[int], columns: Many[int], x: Tensor) -> None:
        """Put one vector [B, G, d] into a column of each slot."""
        for number, new in enumerate(self.codec.encode(x)):
            for row, (slot, column) in enumerate(zip(slots, columns, strict=True)):
                self.slots[slot][number][:, column] = new[row]

    def first(self, slot: int, count: int) -> Tensor:
        """The first columns of a slot [1, G, n, d]."""
        return self.codec.decode([part[None, :, :count] for part in self.slots[slot]])

    def at(self, slots: Many[int], columns: Tensor) -> Tensor:
        """Some columns [B, n] of each slot: [B, G, n, d]."""
        return self.codec.decode(
            [
                torch.stack(
                    [self.slots[slot][number][:, index] for slot, index in zip(slots, columns, strict=True)]
                )
                for number in range(len(self.widths))
            ]
        )
