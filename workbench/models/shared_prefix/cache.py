"""A cache of rows' own keys and values that counts a shared prefix before them without holding it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from workbench.models.shared_prefix.prefix import SharedPrefix


class OwnLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's own keys and values [B, KV, T, d], at positions from P on."""

    keys: Tensor | None
    values: Tensor | None

    def __init__(self, prefix: int) -> None:
        super().__init__()
        self.prefix = prefix
        self.keeps = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Own keys and values with these after them. The first are kept as they are, not copied."""
        if self.keys is None or self.values is None:
            keys, values = key_states, value_states
        else:
            keys = torch.cat([self.keys, key_states], dim=-2)
            values = torch.cat([self.values, value_states], dim=-2)
        if self.keeps:
            self.keys, self.values = keys, values
            self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        return keys, values

    @property
    def own(self) -> int:
        """T, how many positions each row has of its own."""
        return 0 if self.keys is None else int(self.keys.shape[-2])

    def get_seq_length(self) -> int:
        """P + T: where the next token stands."""
        return self.prefix + self.own

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many keys a layer hands to attention, and at which position they start."""
        return self.own + query_length, self.prefix

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Give each beam the own keys and values of the beam that it goes on from."""
        self.batch_select_indices(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row."""
        if self.keys is not None and self.values is not None:
            self.keys = self.keys.repeat_interleave(repeats, dim=0)
            self.values = self.values.repeat_interleave(repeats, dim=0)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows, in this order."""
        if self.keys is not None and self.values is not None:
            indices = indices.to(self.keys.device)
            self.keys, self.values = self.keys[indices], self.values[indices]


class SharedPrefixCache(Cache):  # type: ignore[misc]
    """What a decoder takes as `past_key_values` to stand behind `prefix`: its length is P + own, its memory
    that of own keys and values alone. Reordered and selected for beams like any cache."""

    def __init__(self, prefix: SharedPrefix) -> None:
        super().__init__(layers=[OwnLayer(prefix.length) for _ in prefix.layers])
        self.prefix = prefix

    @property
    def own(self) -> int:
        """T, how many positions each row has of its own."""
        return self.layers[0].own if self.layers else 0

    def keep(self, keeps: bool) -> None:
        """Whether later calls find the keys and values of this one."""
        for layer in self.layers:
            layer.keeps = keeps
