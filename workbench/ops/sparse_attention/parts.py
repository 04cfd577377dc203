"""Rows cut so that attention to a few of the keys is full attention of many small pieces.

A part lays queries and the keys they may see side by side: `pieces` small attentions of `span` queries over
`reach` keys each. B rows, H heads of queries, G of keys, L tokens, d the size of a head; what is appended to
fill the last piece is cut off again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from workbench.ops.sparse_attention.pattern import Pattern, starts_of

LEAST_SPAN = 64
"""Queries of a piece: attention of fewer is slow."""


class Part(Protocol):
    """One way to cut."""

    def fold(self, x: Tensor) -> Tensor:
        """[pieces, H, span, …] of [B, H, L, …]."""
        ...

    def unfold(self, x: Tensor) -> Tensor:
        """The inverse of `fold`."""
        ...

    def keys(self, x: Tensor) -> Tensor:
        """[pieces, G, reach, d] of [B, G, L, d]: what each piece may see."""
        ...

    def keys_gradient(self, x: Tensor) -> Tensor:
        """[B, G, L, d] of [pieces, G, reach, d]: a key's gradient is the sum of those in all pieces."""
        ...

    def seen(self, first: int, last: int) -> Tensor:
        """Who sees whom in the pieces `first` to `last` (without it), [n or 1, 1, span, reach]."""
        ...


@dataclass
class Local:
    """Each token and the ones shortly before it; `documents` [B, L] or None where every row is one.

    A piece is a block of queries over the blocks that its window reaches back to. With global tokens, those
    of the document in which this reach begins stand before them: of any other document they are within it.
    """

    pattern: Pattern
    batch: int
    length: int
    documents: Tensor | None
    device: torch.device

    def __post_init__(self) -> None:
        assert self.pattern.window is not None
        window = min(self.pattern.window, self.length)
        self.span = max(LEAST_SPAN, -(-window // 2))
        self.back = -(-(window - 1) // self.span)
        """Blocks before its own that a piece reaches back to."""
        self.blocks = -(-self.length // self.span)
        self.room = self.blocks * self.span - self.length
        self.near = (self.back + 1) * self.span
        begins = torch.arange(self.blocks, device=self.device) * self.span - self.back * self.span
        self.begins = begins
        """The place of the first key of each block's reach; before the row where it is negative."""
        if self.documents is not None:
            self.starts = starts_of(self.documents)
        self.globals: Tensor | None = None
        if self.pattern.global_tokens:
            self.globals = self._global_places()

    def _global_places(self) -> Tensor:
        """Places [B or 1, blocks, g] of the global tokens of the document that each reach begins in; −1 for
        those within the reach or beyond the document."""
        count = torch.arange(self.pattern.global_tokens, device=self.device)
        begins = self.begins.clamp(min=0)
        if self.documents is None:
            places = count.expand(1, self.blocks, -1)
        else:
            places = self.starts[:, begins][..., None] + count
        return torch.where(places < self.begins[None, :, None], places, -1)

    def fold(self, x: Tensor) -> Tensor:
        batch, heads, _, *rest = x.shape
        whole = pad(x, (0, 0) * len(rest) + (0, self.room))
        pieces = whole.reshape(batch, heads, self.blocks, self.span, *rest).transpose(1, 2)
        return pieces.reshape(batch * self.blocks, heads, self.span, *rest)

    def unfold(self, x: Tensor) -> Tensor:
        _, heads, _, *rest = x.shape
        rows = x.reshape(self.batch, self.blocks, heads, self.span, *rest).transpose(1, 2)
        return rows.reshape(self.batch, heads, -1, *rest)[:, :, : self.length]

    def keys(self, x: Tensor) -> Tensor:
        batch, groups, _, size = x.shape
        whole = pad(x, (0, 0, self.back * self.span, self.room))
        near = whole.unfold(2, self.near, self.span).permute(0, 2, 1, 4, 3)
        if self.globals is not None:
            first = self.globals.clamp(min=0).expand(batch, -1, -1)
            rows = torch.arange(batch, device=x.device)[:, None, None]
            far = x[rows, :, first].transpose(2, 3)
            near = torch.cat([far, near], 3)
        return near.reshape(batch * self.blocks, groups, -1, size)

    def keys_gradient(self, x: Tensor) -> Tensor:
        _, groups, _, size = x.shape
        x = x.reshape(self.batch, self.blocks, groups, -1, size)
        count = 0 if self.globals is None else self.globals.shape[-1]
        near = x[..., count:, :].unflatten(3, (self.back + 1, self.span))
        total = x.new_zeros(self.batch, self.blocks + self.back, groups, self.span, size)
        for block in range(self.back + 1):
            total[:, block : block + self.blocks] += near[..., block, :, :]
        found = total.transpose(1, 2).reshape(self.batch, groups, -1, size)
        found = found[:, :, self.back * self.span :][:, :, : self.length]
        if self.globals is not None:
            # What a piece does not see has no gradient, so that places stood in for by 0 add nothing.
            places = self.globals.clamp(min=0).expand(self.batch, -1, -1).flatten(1)
            far = x[..., :count, :].permute(0, 2, 1, 3, 4).flatten(2, 3)
            found = found.contiguous()
            found.scatter_add_(2, places[:, None, :, None].expand_as(far), far)
        return found

    def seen(self, first: int, last: int) -> Tensor:
        """See `Part.seen`."""
        rows = torch.arange(first, last, device=self.device)
        block, row = rows % self.blocks, rows // self.blocks
        begin = self.begins[block]
        keys = begin[:, None] + torch.arange(self.near, device=self.device)
        queries = keys[:, self.back * self.span :]
        inside = (keys >= 0) & (keys < self.length)
        held = keys.clamp(0, self.length - 1)
        distance = queries[:, :, None] - keys[:, None]
        place, same = keys, inside[:, None]
        if self.documents is not None:
            documents = self.documents[row[:, None], held]
            place = keys - self.starts[row[:, None], held]
            own = documents[:, self.back * self.span :]
            same = inside[:, None] & (own[:, :, None] == documents[:, None])
        near = Pattern(self.pattern.window, self.pattern.global_tokens)
        seen = near.sees(distance, place[:, None]) & same
        if self.globals is not None:
            far = self.globals[row if len(self.globals) > 1 else torch.zeros_like(row), block]
            there = (far >= 0)[:, None]
            if self.documents is not None:
                owner = self.documents[row[:, None], far.clamp(min=0)]
                there = there & (own[:, :, None] == owner[:, None])
            seen = torch.cat([there.expand(-1, self.span, -1), seen], 2)
        return seen[:, None]


@dataclass
class Strided:
    """Of what lies further back than a window, every so manieth token: a piece holds the tokens of a row
    whose places leave the same remainder."""

    pattern: Pattern
    batch: int
    length: int
    documents: Tensor | None
    device: torch.device

    def __post_init__(self) -> None:
        assert self.pattern.stride is not None and self.pattern.window is not None
        self.stride, self.window = self.pattern.stride, self.pattern.window
        self.steps = -(-self.length // self.stride)
        self.room = self.steps * self.stride - self.length

    def fold(self, x: Tensor) -> Tensor:
        batch, heads, _, *rest = x.shape
        whole = pad(x, (0, 0) * len(rest) + (0, self.room))
        pieces = whole.reshape(batch, heads, self.steps, self.stride, *rest)
        return pieces.movedim(3, 1).reshape(batch * self.stride, heads, self.steps, *rest)

    def unfold(self, x: Tensor) -> Tensor:
        _, heads, _, *rest = x.shape
        rows = x.reshape(self.batch, self.stride, heads, self.steps, *rest).movedim(1, 3)
        return rows.reshape(self.batch, heads, -1, *rest)[:, :, : self.length]

    def keys(self, x: Tensor) -> Tensor:
        return self.fold(x)

    def keys_gradient(self, x: Tensor) -> Tensor:
        return self.unfold(x)

    def seen(self, first: int, last: int) -> Tensor:
        """See `Part.seen`."""
        steps = torch.arange(self.steps, device=self.device)
        far = (steps[:, None] - steps[None]) * self.stride >= self.window
        if self.documents is None:
            # What was appended lies behind every query that counts.
            return far[None, None]
        # What was appended is no document's.
        folded = self.fold(self.documents[:, None] + 1)[first:last, 0]
        return (far & (folded[:, :, None] == folded[:, None]))[:, None]
