"""A dense batch: rows of different lengths that all end at one column, as if padded on the left.

Every model can be padded on the left, so positions, ALiBi, relative bias and sliding windows come out
right for each row. Rows that wait are left behind and moved up to the others when they are next asked for.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

import torch

from workbench.inference.engine.dense_attention import Group, Share
from workbench.inference.engine.dense_cache import Block, DenseCache, joined, rounded
from workbench.inference.engine.dense_soft_prompts import Prefix

FIRST_ROOM = 256
"""Columns that a new batch has for new tokens, where its first row may become that long."""


@dataclass(eq=False)
class Row:
    """One sequence in a batch."""

    batch: DenseBatch
    slot: int
    end: int
    """The column behind its last token."""
    width: int
    """Columns it holds, those of a soft prompt among them, and without its trunk."""
    length: int
    """Tokens it holds: what the engine knows of, prompt included."""
    source: int = 0
    """Tokens of the encoder that it looks at; 0 where there is no encoder."""
    prefix: Prefix | None = None
    """The soft prompt that it begins with."""
    trunk: Block | None = None
    """What it begins with, and others may, too; only referred to, and not in the batch."""

    @property
    def position(self) -> int:
        """That of its next token."""
        return self.width + (self.trunk.length if self.trunk is not None else 0)

    def tokens(self, start: int, end: int) -> Block:
        """Keys and values of some of the tokens that the engine knows of."""
        assert self.batch.cache is not None
        before = max(0, self.length - self.width)
        parts = []
        if start < before and self.trunk is not None:
            first = self.trunk.length - before
            parts.append(self.trunk.part(first + start, first + min(end, before)))
        if end > before:
            at = self.end - self.length
            parts.append(self.batch.cache.cut(self.slot, at + max(start, before), at + end))
        return joined(parts)

    @property
    def start(self) -> int:
        """The column of its first token."""
        return self.end - self.width


class DenseBatch:
    """Rows in the slots 0, 1, 2 … of one cache, and of a second one for what they see of an encoder."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.cache: DenseCache | None = None
        self.cross: DenseCache | None = None

    def add(
        self,
        blocks: Many[Block],
        length: int,
        new: int,
        source: Block | None = None,
        prefix: Prefix | None = None,
        trunk: Block | None = None,
    ) -> Row:
        """A row that begins with a trunk and these blocks; the last `length` tokens are the prompt's."""
        width = sum(block.length for block in blocks)
        end = max([width, *(row.end for row in self.rows)])
        if self.cache is None:
            self.cache = DenseCache(1, rounded(width + min(new, FIRST_ROOM)))
        self.cache = self._reserve(self.cache, end)
        row = Row(self, len(self.rows), end, width, length, source.length if source else 0, prefix, trunk)
        at = row.start
        for block in blocks:
            self.cache.write(block, row.slot, at)
            at += block.length
        if source is not None:
            self.cross = self._reserve(self.cross or DenseCache(1, rounded(source.length)), source.length)
            self.cross.write(source, row.slot, 0)
        self.rows.append(row)
        return row

    def _reserve(self, cache: DenseCache, columns: int) -> DenseCache:
        """Room for one more row, and rows of so many columns; twice what it was where it does not do."""
        slots, capacity = cache.window.slots, cache.window.capacity
        if len(self.rows) == slots or columns > capacity:
            capacity = max(2 * capacity, rounded(columns)) if columns > capacity else capacity
            cache.resize(2 * slots if len(self.rows) == slots else slots, capacity, len(self.rows))
        return cache

    def remove(self, row: Row) -> None:
        """Free a row: the last one takes its place."""
        assert self.cache is not None
        last = self.rows.pop()
        if last is not row:
            self.cache.copy_row(last.slot, row.slot, last.start, last.end)
            if self.cross is not None:
                self.cross.copy_row(last.slot, row.slot, 0, last.source)
            self.rows[row.slot] = last
            last.slot = row.slot
        if not self.rows:
            self.cache = self.cross = None
            return
        # Where there is no memory for the smaller copy, the larger stays.
        with suppress(torch.OutOfMemoryError):
            self._give_back()

    def _give_back(self) -> None:
        """Keep at most four times the slots and columns that the rows that are left need."""
        assert self.cache is not None
        longest = rounded(max(1, *(row.width for row in self.rows)))
        if self.cache.window.capacity >= 4 * longest:
            self._move(self.rows, longest)
        self._shrink(self.cache, longest)
        if self.cross is not None:
            self._shrink(self.cross, rounded(max(row.source for row in self.rows)))

    def _shrink(self, cache: DenseCache, columns: int) -> None:
        slots, capacity = cache.window.slots, cache.window.capacity
        fewer = slots // 2 if slots >= 4 * len(self.rows) else slots
        narrower = 2 * columns if capacity >= 4 * columns else capacity
        if (fewer, narrower) != (slots, capacity):
            cache.resize(fewer, narrower, len(self.rows))

    def prepare(self, rows: Many[Row]) -> DenseCache:
        """Bring these rows into the first slots, all ending at one column with room behind it, and set the
        cache's window to them. Returns the cache."""
        assert self.cache is not None
        self._bring_forward(rows)
        end, width = max(row.end for row in rows), max(row.width for row in rows)
        if end + 1 > self.cache.window.capacity:
            # Back to the left; and when that would not do for long, in twice the room.
            end = width
            if 2 * width > self.cache.window.capacity:
                self.cache.resize(self.cache.window.slots, 2 * self.cache.window.capacity, len(self.rows))
        self._move(self.rows[: len(rows)], end)
        window = self.cache.window
        window.rows, window.start, window.end = len(rows), end - width, end
        return self.cache

    def _move(self, rows: Many[Row], end: int) -> None:
        """Shift rows, in the order of their slots, until they end at a column."""
        assert self.cache is not None
        for old_end, run in groupby(rows, key=lambda row: row.end):
            moved = list(run)
            if old_end != end:
                first, longest = moved[0].slot, max(row.width for row in moved)
                self.cache.shift(first, first + len(moved), old_end - longest, old_end, end - old_end)
                for row in moved:
                    row.end = end

    def _bring_forward(self, rows: Many[Row]) -> None:
        wanted = {row.slot for row in rows}
        behind = sorted(slot for slot in wanted if slot >= len(rows))
        holes = [slot for slot in range(len(rows)) if slot not in wanted]
        for slot, hole in zip(behind, holes, strict=True):
            self._swap(slot, hole)
        self._gather(len(rows))

    def _gather(self, count: int) -> None:
        """Bring rows of one trunk side by side, in the first slots."""
        trunks = [id(row.trunk) for row in self.rows[:count]]
        first = {trunk: trunks.index(trunk) for trunk in trunks}
        wanted = sorted(self.rows[:count], key=lambda row: first[id(row.trunk)])
        for slot, row in enumerate(wanted):
            if row.slot != slot:
                self._swap(slot, row.slot)

    def _swap(self, slot: int, other_slot: int) -> None:
        assert self.cache is not None
        one, other = self.rows[slot], self.rows[other_slot]
        self.cache.swap_rows(slot, other_slot, max(one.end, other.end))
        if self.cross is not None:
            self.cross.swap_rows(slot, other_slot, max(one.source, other.source))
        self.rows[slot], self.rows[other_slot] = other, one
        one.slot, other.slot = other_slot, slot

    def share(self, count: int, device: torch.device) -> Share | None:
        """What rows in the first slots have in common, after `prepare`; None where they have nothing."""
        rows = self.rows[:count]
        if all(row.trunk is None for row in rows):
            return None
        groups, first = [], 0
        for _, same in groupby(rows, key=lambda row: id(row.trunk)):
            widths = [row.width for row in same]
            longest, last = max(widths), first + len(widths)
            starts = None
            if min(widths) < longest:
                starts = torch.tensor([longest - width for width in widths], device=device)
            groups.append(Group(first, last, rows[first].trunk, longest + 1, starts))
            first = last
        return Share(groups)

    def appended(self, rows: Many[Row]) -> None:
        """Each of these rows has one token more."""
        for row in rows:
            row.end += 1
            row.width += 1
            row.length += 1
