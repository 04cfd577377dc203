"""Dots in character cells: braille (2×4 dots a cell), quadrant blocks (2×2) or plain ASCII (1×1)."""

from __future__ import annotations

from functools import cache
from typing import Literal

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


class Canvas:
    """Two layers of dots, bright before faint. Each cell belongs to the last owner who drew in it."""

    def __init__(self, columns: int, rows: int, symbols: Symbols = "braille") -> None:
        self.columns, self.rows, self.symbols = columns, rows, symbols
        self._across, self._down = CELL_DOTS[symbols]
        self.dot_columns, self.dot_rows = columns * self._across, rows * self._down
        self._firsts = np.arange(0, self.dot_rows, self._down, dtype=np.int16)[:, None]
        self._column_steps = np.arange(self._across, dtype=np.int16)[:, None, None] * np.int16(self._down + 1)
        self._bits = {bright: np.zeros((rows, columns), np.uint8) for bright in (True, False)}
        self._owners = {bright: np.full((rows, columns), NOBODY, np.int16) for bright in (True, False)}

    def runs(self, top: RowArray, bottom: RowArray, owner: int, *, bright: bool) -> None:
        """In every dot column fill the dots from `top` to `bottom` inclusive; none where top > bottom.

        Both have one dot row a dot column, counted from the top; rows outside the canvas are cut off.
        """
        drawn = top <= bottom
        if not drawn.any():
            return
        # Only the rows of cells that the runs reach: a curve is seldom as high as the chart.
        reached = slice(
            max(int(top[drawn].min()) // self._down, 0), int(bottom[drawn].max()) // self._down + 1
        )
        firsts, shape = self._firsts[reached], (self.columns, self._across)
        # What each cell holds of the runs of its dot columns, looked up instead of drawn dot by dot.
        first = np.ascontiguousarray(top.reshape(shape).T)[:, None, :] - firsts
        end = np.ascontiguousarray(bottom.reshape(shape).T)[:, None, :] - (firsts - np.int16(1))
        np.clip(first, 0, self._down, out=first)
        np.clip(end, 0, self._down, out=end)
        first += self._column_steps
        first *= np.int16(self._down + 1)
        first += end
        parts = run_bits(self.symbols)[first]
        bits = parts[0] | parts[1] if self._across == 2 else parts[0]
        self._bits[bright][reached] |= bits
        self._owners[bright][reached][bits != 0] = owner

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
