"""Keys and values of many rows in one tensor a layer, written in place: a cache of transformers.

B rows, H heads of keys and values, T columns (tokens), D the size of a head.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

ROUND = 64
"""Columns are allocated in multiples of this, so that every row begins at an aligned address."""

Pair = tuple[torch.Tensor, torch.Tensor]
SHARE = "workbench_share"
"""The attribute of keys that tells attention what rows have in common: a `Share`, and the layer's number."""


def rounded(columns: int) -> int:
    """The next multiple of `ROUND`."""
    return -(-columns // ROUND) * ROUND


def cache_name(model: Any) -> str:
    """What a model's forward calls its cache: `cache` from transformers 5.24 on, `past_key_values` before
    and in remote code."""
    old = "past_key_values"
    return old if old in inspect.signature(model.forward).parameters else "cache"


@dataclass(eq=False)
class Block:
    """The keys and values [H, n, D] of `length` neighbouring tokens, layer by layer; None where a layer
    keeps none of its own. Never written to again."""

    layers: list[Pair | None]
    length: int
    users: int = 0
    """Prompts in work that hold it."""

    @property
    def bytes(self) -> int:
        """The memory it takes."""
        return sum(part.numel() * part.element_size() for pair in self.layers if pair for part in pair)

    def part(self, start: int, end: int) -> Block:
        """Some of the tokens, not copied."""
        pairs = [pair and (pair[0][:, start:end], pair[1][:, start:end]) for pair in self.layers]
        return Block(pairs, end - start)


def joined(blocks: Many[Block]) -> Block:
    """Blocks one after another, as one; copied where there are several."""
    if len(blocks) == 1:
        return blocks[0]
    layers: list[Pair | None] = []
    for pairs in zip(*(block.layers for block in blocks), strict=True):
        known = [pair for pair in pairs if pair is not None]
        layers.append(
            (torch.cat([k for k, _ in known], 1), torch.cat([v for _, v in known], 1)) if known else None
        )
    return Block(layers, sum(block.length for block in blocks))


@dataclass
class Window:
    """The part of the tensors that a call of the model sees: the first `rows`, columns `start` to `end`, and
    after them the ones it appends."""

    slots: int
    capacity: int
    rows: int = 0
    start: int = 0
    end: int = 0
    share: Any = None
    """What groups of the rows have in common, for attention to see."""


class DenseLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer, [slots, H, capacity, D]."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, window: Window, number: int) -> None:
        super().__init__()
        self.window = window
        self.number = number

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.keys, self.values = (self._new(like) for like in (key_states, value_states))
        self.is_initialized = True

    def _new(self, like: torch.Tensor) -> torch.Tensor:
        # Zeros: a masked column counts for nothing, unless what is in it is no number.
        shape = (self.window.slots, like.shape[-3], self.window.capacity, like.shape[-1])
        return like.new_zeros(shape)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write behind the window, in place, and return all that is seen then."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        window = self.window
        end = window.end + key_states.shape[-2]
        self.keys[: window.rows, :, window.end : end] = key_states
        self.values[: window.rows, :, window.end : end] = value_states
        seen = (slice(window.rows), slice(None), slice(window.start, end))
        keys, values = self.keys[seen], self.values[seen]
        if window.share is not None:
            window.share.given += 1
            setattr(keys, SHARE, (window.share, self.number))
        return keys, values

    def get_seq_length(self) -> int:
        return self.window.end - self.window.start

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        return -1

    @property
    def pair(self) -> Pair:
        """Both tensors."""
        return self.keys, self.values

    def resize(self, rows: int) -> None:
        """Take tensors of the window's size, keeping `rows` rows and the columns that fit."""
        for name, old in (("keys", self.keys), ("values", self.values)):
            new = self._new(old)
            columns = min(old.shape[2], new.shape[2])
            new[:rows, :, :columns] = old[:rows, :, :columns]
            setattr(self, name, new)


class DenseCache(Cache):  # type: ignore[misc]
    """All layers, which share one window. A model's layers come to be as it writes to them."""

    layers: list[DenseLayer]

    def __init__(self, slots: int, capacity: int) -> None:
        super().__init__(layers=[])
        self.window = Window(slots, capacity)

    def layer(self, index: int) -> DenseLayer:
        """The layer, made when it is the first time that it is asked for."""
        while len(self.layers) <= index:
            self.layers.append(DenseLayer(self.window, len(self.layers)))
        return self.layers[index]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layer(layer_idx).update(key_states, value_states)

    def tensors(self) -> Iterator[torch.Tensor]:
        """Keys and values of all layers that have any."""
        for layer in self.layers:
            if layer.is_initialized:
                yield from layer.pair

    def resize(self, slots: int, capacity: int, rows: int) -> None:
        """Room for more or fewer rows and columns; the first `rows` rows are kept."""
        window = self.window
        before = window.slots, window.capacity
        window.slots, window.capacity = slots, capacity
        try:
            for layer in self.layers:
                if layer.is_initialized:
                    layer.resize(rows)
        except BaseException:
            # Memory ran out half-way: there is as much room as in the smallest layer.
            window.slots, window.capacity = min(slots, before[0]), min(capacity, before[1])
            raise

    def write(self, block: Block, slot: int, start: int) -> None:
        """Copy a block into a row."""
        for index, pair in enumerate(block.layers):
            if pair is None:
                continue
            layer = self.layer(index)
            if not layer.is_initialized:
                layer.lazy_initialization(*pair)
            for target, source in zip(layer.pair, pair, strict=True):
                target[slot, :, start : start + block.length] = source

    def cut(self, slot: int, start: int, end: int) -> Block:
        """A copy of a row's columns."""
        layers: list[Pair | None] = [
            (layer.keys[slot, :, start:end].clone(), layer.values[slot, :, start:end].clone())
            if layer.is_initialized
            else None
            for layer in self.layers
        ]
        return Block(layers, end - start)

    def copy_row(self, source: int, target: int, start: int, end: int) -> None:
        """Copy some columns of one row over those of another."""
        for tensor in self.tensors():
            tensor[target, :, start:end] = tensor[source, :, start:end]

    def swap_rows(self, one: int, other: int, end: int) -> None:
        """Exchange two rows up to a column."""
        for tensor in self.tensors():
            kept = tensor[one, :, :end].clone()
            tensor[one, :, :end] = tensor[other, :, :end]
            tensor[other, :, :end] = kept

    def shift(self, first: int, last: int, start: int, end: int, by: int) -> None:
        """Move the columns of the rows `first` to `last` (without it) to the right, or to the left."""
        for tensor in self.tensors():
            tensor[first:last, :, start + by : end + by] = tensor[first:last, :, start:end].clone()
