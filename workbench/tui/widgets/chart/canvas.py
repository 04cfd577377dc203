"""Dots in character cells: braille (2×4 dots a cell), quadrant blocks (2×2) or plain ASCII (1×1)."""

from __future__ import annotations

from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Symbols = Literal["braille", "block", "ascii"]
CodeArray = NDArray[np.uint32]
OwnerArray = NDArray[np.int16]
RowArray = NDArray[np.int16]

CELL_DOTS: dict[Symbols, tuple[int, int]] = {"braille": (2, 4), "block": (2, 2), "ascii": (1, 1)}
ASCII_MARKS = "*+ox#@%&"
ASCII_FAINT = ":"
NOBODY = -1
# Dots looked at in one go.
PIECE = 1 << 16

# The bit of each dot in a cell: one tuple a dot column, from the top down. Braille's are those of its
# code points (Unicode chapter 21.1); the quadrants' number their glyphs.
DOT_BITS: dict[Symbols, tuple[tuple[int, ...], ...]] = {
    "braille": ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80)),
    "block": ((8, 2), (4, 1)),
    "ascii": ((1,),),
}
GLYPHS: dict[Symbols, CodeArray] = {
    "braille": np.arange(0x2800, 0x2900, dtype=np.uint32),
    "block": np.array([ord(glyph) for glyph in " ▗▖▄▝▐▞▟▘▚▌▙▀▜▛█"], np.uint32),
}


@cache
def run_bits(symbols: Symbols) -> NDArray[np.uint8]:
    """The bits of the dots `first` to `end` of a dot column of a cell.

    At [(column * (down + 1) + first) * (down + 1) + end], where `down` is the dots of a column.
    """
    steps = range(CELL_DOTS[symbols][1] + 1)
    return np.array(
        [sum(bits[first:end]) for bits in DOT_BITS[symbols] for first in steps for end in steps], np.uint8
    )


@cache
def _offsets(rows: int, symbols: Symbols) -> tuple[RowArray, RowArray]:
    """The first dot row of each row of cells, and what a dot column of a cell adds in `run_bits`."""
    across, down = CELL_DOTS[symbols]
    firsts = np.arange(0, rows * down, down, dtype=np.int16)[:, None]
    return firsts, np.arange(across, dtype=np.int16)[:, None, None, None] * np.int16(down + 1)


class Pen(NamedTuple):
    """Whose dots they are, and whether of the bright layer."""

    owner: int
    bright: bool


class Runs(NamedTuple):
    """For every pen and dot column the dots from `tops` to `bottoms` inclusive; none where top > bottom.

    Both are pens × dot columns, counted from the top; rows outside the canvas are cut off.
    """

    tops: RowArray
    bottoms: RowArray
    pens: tuple[Pen, ...]


class Grid(NamedTuple):
    """How many cells there are, and what of."""

    columns: int
    rows: int
    symbols: Symbols = "braille"

    @property
    def dot_columns(self) -> int:
        return self.columns * CELL_DOTS[self.symbols][0]

    @property
    def dot_rows(self) -> int:
        return self.rows * CELL_DOTS[self.symbols][1]


class Canvas:
    """Two layers of dots, bright before faint. Each cell belongs to the last owner who drew in it."""

    def __init__(self, columns: int, rows: int, symbols: Symbols = "braille") -> None:
        self.columns, self.rows, self.symbols = columns, rows, symbols
        self._bits = {bright: np.zeros((rows, columns), np.uint8) for bright in (True, False)}
        self._owners = {bright: np.full((rows, columns), NOBODY, np.int16) for bright in (True, False)}

    def draw(self, runs: Runs) -> None:
        """Fill the runs of all pens, each over those before it."""
        across = CELL_DOTS[self.symbols][0]
        # A few pens at a time, so that what they come to stays in the processor's cache.
        some = max(1, PIECE // max(1, self.rows * self.columns * across))
        for first in range(0, len(runs.pens), some):
            tops, bottoms = runs.tops[first : first + some], runs.bottoms[first : first + some]
            self._draw(tops, bottoms, runs.pens[first : first + some])

    def _draw(self, tops: RowArray, bottoms: RowArray, pens: tuple[Pen, ...]) -> None:
        across, down = CELL_DOTS[self.symbols]
        drawn = tops <= bottoms
        if not drawn.any():
            return
        # Only the rows of cells that the runs reach: a curve is seldom as high as the chart.
        reached = slice(max(int(tops[drawn].min()) // down, 0), int(bottoms[drawn].max()) // down + 1)
        firsts, steps = _offsets(self.rows, self.symbols)
        firsts = firsts[reached]
        # What each cell holds of the runs of its dot columns, looked up instead of drawn dot by dot.
        # Dot column of the cell, pen, row, column.
        shape = (len(pens), 1, self.columns, across)
        first = tops.reshape(shape).transpose(3, 0, 1, 2) - firsts
        end = bottoms.reshape(shape).transpose(3, 0, 1, 2) - (firsts - np.int16(1))
        np.minimum(np.maximum(first, 0, out=first), down, out=first)
        np.minimum(np.maximum(end, 0, out=end), down, out=end)
        first += steps
        first *= np.int16(down + 1)
        first += end
        parts = run_bits(self.symbols)[first]
        bits = parts[0] | parts[1] if across == 2 else parts[0]
        touched = bits != 0
        for index, (owner, bright) in enumerate(pens):
            layer, owners = self._bits[bright][reached], self._owners[bright][reached]
            np.bitwise_or(layer, bits[index], out=layer)
            owners[touched[index]] = owner

    def cells(self) -> tuple[CodeArray, OwnerArray, NDArray[np.bool_]]:
        """Characters (blank where nothing is), owners (NOBODY there) and whether a cell is bright.

        A cell that a bright curve passes shows that alone: the envelope keeps a gap around it, or the
        curve would drown in its colour.
        """
        bright = self._bits[True] != 0
        bits = np.where(bright, self._bits[True], self._bits[False])
        owners = np.where(bright, self._owners[True], self._owners[False])
        if self.symbols == "ascii":
            marks = np.array([ord(mark) for mark in ASCII_MARKS], np.uint32)
            codes = np.where(bright, marks[owners % len(marks)], np.uint32(ord(ASCII_FAINT)))
        else:
            codes = GLYPHS[self.symbols][bits]
        return np.where(bits == 0, np.uint32(ord(" ")), codes), owners, bright
