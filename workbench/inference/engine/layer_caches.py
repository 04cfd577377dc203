"""What one layer keeps of many sequences: all keys and values, those of a window, or a sum.

B rows, H heads of queries, G of keys, n new tokens, d the size of a head. A slot holds one sequence; its
tokens have the positions 0, 1, 2 … Slots are numbered without a gap: see `Slots`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from workbench.inference.engine.kv_codecs import Codec
from workbench.inference.engine.kv_store import KvStore
from workbench.ops.decode_reference import rotate
from workbench.ops.linear_attention import State, linear_attention, linear_step
from workbench.ops.sparse_attention.attention import sparse_attention
from workbench.ops.sparse_attention.pattern import Pattern

LEAST = 64
"""Columns that a slot grows by at least, if it was promised as many."""

Angles = tuple[Tensor, Tensor]
"""cos and sin of the positions [n, 1, d] of what is read."""


@dataclass(frozen=True)
class Rows:
    """The rows of a step: their slots, also as a range where they are one, which is seen without a copy, and
    the position of their new token."""

    slots: list[int]
    seen: slice | Tensor
    lengths: list[int]
    positions: Tensor


class LayerCache(Protocol):
    """One layer's cache."""

    growing: int
    """Bytes that each further token takes for ever."""

    @property
    def bytes(self) -> int:
        """What it takes now."""
        ...

    def bytes_of(self, tokens: int) -> int:
        """What a sequence of so many tokens takes."""
        ...

    def add(self) -> None:
        """One more slot."""
        ...

    def remove(self, slot: int) -> None:
        """Free a slot; the last one takes its number."""
        ...

    def reserve(self, slot: int, tokens: int, limit: int) -> None:
        """Room for so many tokens in a slot. What is taken ahead is for no more than `limit` tokens."""
        ...

    def fit(self, slot: int, tokens: int) -> None:
        """Give back what is more than so many tokens take."""
        ...

    def copy(self, source: int, target: int, tokens: int) -> None:
        """Copy what a slot holds of so many tokens over another."""
        ...

    def read(self, slot: int, start: int, query: Tensor, key: Tensor, value: Tensor, at: Angles) -> Tensor:
        """[n, H, d] of the tokens from position `start` on: queries [n, H, d], keys and values [n, G, d],
        positions not turned in yet."""
        ...

    def step(self, rows: Rows, query: Tensor, key: Tensor, value: Tensor, at: Angles) -> Tensor:
        """[B, H, d] of one more token of each row."""
        ...


class SoftmaxCache:
    """Keys and values of what a pattern can still see.

    With a window those of its last tokens, in a ring behind the global ones: position p ≥ g lies in column
    g + (p − g) mod w. Without one, and with a stride, all.
    """

    def __init__(
        self, pattern: Pattern, codec: Codec, heads: int, size: int, longest: int, device: torch.device
    ) -> None:
        self.pattern = pattern
        self.is_ring = pattern.window is not None and pattern.stride is None
        self.first = pattern.global_tokens if self.is_ring else 0
        self.window = pattern.window or longest
        self.most = min(self.window + self.first, longest) if self.is_ring else longest
        self.keys, self.values = (KvStore(heads, size, codec, device) for _ in range(2))
        self.scale = size**-0.5
        self.per_token = self.keys.bytes_per_token + self.values.bytes_per_token
        self.growing = 0 if self.is_ring else self.per_token

    @property
    def bytes(self) -> int:
        return self.keys.bytes + self.values.bytes

    def bytes_of(self, tokens: int) -> int:
        return min(tokens, self.most) * self.per_token

    def add(self) -> None:
        for store in (self.keys, self.values):
            store.add()

    def remove(self, slot: int) -> None:
        for store in (self.keys, self.values):
            store.remove(slot)

    def reserve(self, slot: int, tokens: int, limit: int) -> None:
        needed, most = (min(count, self.most) for count in (tokens, limit))
        for store in (self.keys, self.values):
            have = store.columns(slot)
            if have < needed:
                # By half, so that a long answer is not copied with every token.
                ahead = have + max(have // 2, LEAST) if have else needed
                store.resize(slot, max(needed, min(most, ahead)))

    def fit(self, slot: int, tokens: int) -> None:
        for store in (self.keys, self.values):
            if store.columns(slot) > min(tokens, self.most):
                store.resize(slot, min(tokens, self.most))

    def copy(self, source: int, target: int, tokens: int) -> None:
        for store in (self.keys, self.values):
            store.copy(source, target, min(tokens, self.most))

    def _column(self, position: int) -> int:
        if not self.is_ring or position < self.first:
            return position
        return self.first + (position - self.first) % self.window

    def _columns(self, positions: Tensor) -> Tensor:
        if not self.is_ring:
            return positions
        return torch.where(
            positions < self.first, positions, self.first + (positions - self.first) % self.window
        )

    def read(self, slot: int, start: int, query: Tensor, key: Tensor, value: Tensor, at: Angles) -> Tensor:
        count, device = len(query), query.device
        query, key = rotate(query, *at).transpose(0, 1), rotate(key, *at).transpose(0, 1)
        value = value.transpose(0, 1)
        new = torch.arange(start, start + count, device=device)
        if not start:
            output = sparse_attention(query[None], key[None], value[None], self.pattern, scale=self.scale)
        else:
            past = self._past(start, device)
            index = self._columns(past)[None]
            keys = torch.cat([self.keys.at([slot], index), key[None]], 2)
            values = torch.cat([self.values.at([slot], index), value[None]], 2)
            places = torch.cat([past, new])
            seen = self.pattern.sees(new[:, None] - places, places)
            output = scaled_dot_product_attention(
                query[None], keys, values, attn_mask=seen[None, None], scale=self.scale, enable_gqa=True
            )
        kept = new if not self.is_ring else new[(new < self.first) | (new >= start + count - self.window)]
        self.keys.write(slot, self._columns(kept), key[:, kept - start])
        self.values.write(slot, self._columns(kept), value[:, kept - start])
        return output[0].transpose(0, 1)

    def _past(self, start: int, device: torch.device) -> Tensor:
        """Positions before `start` that something from there on sees."""
        if not self.is_ring:
            return torch.arange(start, device=device)
        near = max(self.first, start - self.window + 1)
        first = torch.arange(min(self.first, start), device=device)
        return torch.cat([first, torch.arange(near, start, device=device)]) if near < start else first

    def step(self, rows: Rows, query: Tensor, key: Tensor, value: Tensor, at: Angles) -> Tensor:
        query, key = rotate(query, *at), rotate(key, *at)
        columns = [self._column(position) for position in rows.lengths]
        self.keys.write_tokens(rows.slots, columns, key)
        self.values.write_tokens(rows.slots, columns, value)
        # Queries that share keys lie side by side, as if they were tokens: see `dense_attention`.
        packed = query.unflatten(1, (key.shape[1], -1))
        if self.pattern.stride is not None:
            index, seen = self._strided(rows)
            keys, values = self.keys.at(rows.slots, index), self.values.at(rows.slots, index)
            return self._attend(packed, keys, values, seen)
        # One by one: side by side they would be padded, all that is kept copied at every step (16 rows of 512
        # tokens in int8 took 7.8 ms a layer so, and take 2.1).
        outputs = []
        for row, (slot, position) in enumerate(zip(rows.slots, rows.lengths, strict=True)):
            count = min(position + 1, self.most)
            keys, values = (store.first(slot, count) for store in (self.keys, self.values))
            outputs.append(self._attend(packed[row : row + 1], keys, values))
        return torch.cat(outputs)

    def _attend(self, packed: Tensor, keys: Tensor, values: Tensor, seen: Tensor | None = None) -> Tensor:
        """[B, H, d] of queries [B, G, H / G, d] over [B, G, n, d], those that are seen [B, n] or all."""
        mask = None if seen is None else seen[:, None, None]
        output = scaled_dot_product_attention(packed, keys, values, attn_mask=mask, scale=self.scale)
        return output.flatten(1, 2)

    def _strided(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Columns [B, n] that the new tokens see, and which of them there are."""
        longest = max(rows.lengths)
        stride, window = self.pattern.stride, min(self.window, longest + 1)
        assert stride is not None
        near = torch.arange(window, device=rows.positions.device)
        beyond = -(-self.window // stride) * stride
        far = torch.arange(beyond, max(beyond, longest + 1), stride, device=rows.positions.device)
        index = rows.positions[:, None] - torch.cat([near, far])
        return index.clamp(min=0), index >= 0


class LinearCache:
    """The sums of linear attention, which never grow."""

    growing = 0

    def __init__(self, heads: int, size: int, device: torch.device) -> None:
        self.values = torch.zeros(0, heads, size, size, device=device)
        self.norm = torch.zeros(0, heads, size, device=device)
        self.count = 0

    @property
    def bytes(self) -> int:
        return 4 * (self.values.numel() + self.norm.numel())

    def bytes_of(self, tokens: int) -> int:
        heads, size = self.norm.shape[1:]
        return 4 * heads * size * (size + 1)

    def add(self) -> None:
        if self.count == len(self.values):
            self._resize(self.count + 1)
        self.count += 1

    def remove(self, slot: int) -> None:
        self.count -= 1
        self.values[slot], self.norm[slot] = self.values[self.count], self.norm[self.count]
        # Not at once: the next one may come in a moment. Nor for want of memory, which is to be given back.
        if 2 * self.count <= len(self.values):
            with contextlib.suppress(MemoryError, RuntimeError):
                self._resize(self.count)

    def reserve(self, slot: int, tokens: int, limit: int) -> None:
        """Nothing: a sum does not grow."""

    def fit(self, slot: int, tokens: int) -> None:
        """Nothing: a sum does not shrink."""

    def _resize(self, slots: int) -> None:
        # Both or none: where memory runs out in between, they stay as long as each other.
        self.values, self.norm = _resized(self.values, slots), _resized(self.norm, slots)

    def copy(self, source: int, target: int, tokens: int) -> None:
        self.values[target], self.norm[target] = self.values[source], self.norm[source]

    def read(self, slot: int, start: int, query: Tensor, key: Tensor, value: Tensor, at: Angles) -> Tensor:
        query, key, value = (one.transpose(0, 1)[None] for one in (query, key, value))
        state = State(self.values[slot][None], self.norm[slot][None]) if start else None
        output, after = linear_attention(query, key, value, at[0][None, :, 0], at[1][None, :, 0], state=state)
        self.values[slot], self.norm[slot] = after.values[0], after.norm[0]
        return output[0].transpose(0, 1)

    def step(self, rows: Rows, query: Tensor, key: Tensor, value: Tensor, at: Angles) -> Tensor:
        state = State(self.values[rows.seen], self.norm[rows.seen])
        output = linear_step(query[:, :, None], key[:, :, None], value[:, :, None], *at, state)
        if not isinstance(rows.seen, slice):
            self.values[rows.seen], self.norm[rows.seen] = state.values, state.norm
        return output[:, :, 0]


def _resized(old: Tensor, slots: int) -> Tensor:
    """So many first slots; new ones are zeros."""
    new, kept = old.new_zeros(slots, *old.shape[1:]), min(slots, len(old))
    new[:kept] = old[:kept]
    return new
