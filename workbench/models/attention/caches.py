"""What transformers' caches keep of a layer of linear attention."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers.cache_utils import CacheLayerMixin

from workbench.models.attention.configuration import LINEAR_LAYER
from workbench.ops.linear_attention import State


class LinearStateLayer(CacheLayerMixin):  # type: ignore[misc]
    """The sums of a layer: `keys` [B, G, d, d] and `values` [B, G, d], by the names of what others keep, so
    that rows are chosen and repeated as everywhere."""

    _layer_type = LINEAR_LAYER
    is_sliding = False
    supports_early_init = False

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.seen = 0

    @property
    def state(self) -> State | None:
        """The sums, once there are any."""
        return State(self.keys, self.values) if self.is_initialized else None

    def keep(self, state: State, tokens: int) -> None:
        """Take the sums after so many more tokens."""
        self.keys, self.values = state.values, state.norm
        self.dtype, self.device = state.values.dtype, state.values.device
        self.is_initialized = True
        self.seen += tokens

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: sums come from `keep`."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: object, **options: object) -> object:
        """There is no such thing here."""
        raise NotImplementedError("linear attention keeps no keys and values")

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, self.seen

    def get_seq_length(self) -> int:
        return self.seen

    def get_max_length(self) -> int:
        return -1

    def reset(self) -> None:
        super().reset()
        self.seen = 0

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Each row so many times."""
        if self.is_initialized:
            self.keys, self.values = (x.repeat_interleave(repeats, 0) for x in (self.keys, self.values))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Some of the rows."""
        if self.is_initialized:
            self.keys, self.values = self.keys[indices], self.values[indices]

    def crop(self, tokens_to_remove: int) -> None:
        """A sum cannot forget."""
        if tokens_to_remove:
            raise RuntimeError("linear attention cannot forget tokens: its state is a sum of all of them")
