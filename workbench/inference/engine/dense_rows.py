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

from workbench.inference.engine.dense_cache import Block, DenseCache, rounded
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
    """Columns it holds, with those before the prompt that a soft prompt takes."""
    length: int
    """Tokens it holds: what the engine knows of, prompt included."""
    source: int = 0
    """Tokens of the encoder that it looks at; 0 where there is no encoder."""
    prefix: Prefix | None = None
    """The soft prompt that it begins with."""

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
    ) -> Row:
        """A row that begins with these blocks, of which the last `length` tokens are the prompt's."""
        width = sum(block.length for block in blocks)
        end = max([width, *(row.end for row in self.rows)])
        if self.cache is None:
            self.cache = DenseCache(1, rounded(width + min(new, FIRST_ROOM)))
        self.cache = self._reserve(self.cache, end)
        row = Row(self, len(self.rows), end, width, length, source.length if source else 0, prefix)
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
        longest = rounded(max(row.width for row in self.rows))
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
            one, other = self.rows[slot], self.rows[hole]
            assert self.cache is not None
            self.cache.swap_rows(slot, hole, max(one.end, other.end))
            if self.cross is not None:
                self.cross.swap_rows(slot, hole, max(one.source, other.source))
            self.rows[slot], self.rows[hole] = other, one
            one.slot, other.slot = hole, slot

    def appended(self, rows: Many[Row]) -> None:
        """Each of these rows has one token more."""
        for row in rows:
            row.end += 1
            row.width += 1
            row.length += 1
