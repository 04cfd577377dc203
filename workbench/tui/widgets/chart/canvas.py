"""Dots in character cells: braille (2×4 dots a cell), quadrant blocks (2×2) or plain ASCII (1×1)."""

from __future__ import annotations

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

# The bit of each braille dot, row by row, left before right (Unicode chapter 21.1).
BRAILLE_BITS = (0x01, 0x08, 0x02, 0x10, 0x04, 0x20, 0x40, 0x80)
# By upper left 8, upper right 4, lower left 2, lower right 1.
QUADRANTS = " ▗▖▄▝▐▞▟▘▚▌▙▀▜▛█"


def _braille_codes() -> CodeArray:
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    return (0x2800 + bits @ np.array(BRAILLE_BITS, np.uint32)).astype(np.uint32)


# From the dots of a cell, packed row by row from the highest bit down, to its character.
GLYPHS: dict[Symbols, CodeArray] = {
    "braille": _braille_codes(),
    "block": np.repeat(np.array([ord(glyph) for glyph in QUADRANTS], np.uint32), 16),
}


class Canvas:
    """Two layers of dots, bright before faint. Each cell belongs to the last owner who drew in it."""

    def __init__(self, columns: int, rows: int, symbols: Symbols = "braille") -> None:
        self.columns, self.rows, self.symbols = columns, rows, symbols
        self._across, self._down = CELL_DOTS[symbols]
        self.dot_columns, self.dot_rows = columns * self._across, rows * self._down
        self._numbers = np.arange(self.dot_rows, dtype=np.int16)[:, None]
        self._bits = {bright: np.zeros((rows, columns), np.uint8) for bright in (True, False)}
        self._owners = {bright: np.full((rows, columns), NOBODY, np.int16) for bright in (True, False)}

    def runs(self, top: RowArray, bottom: RowArray, owner: int, *, bright: bool) -> None:
        """In every dot column fill the dots from `top` to `bottom` inclusive; none where top > bottom.

        Both have one dot row a dot column, counted from the top; rows outside the canvas are cut off.
        """
        filled = (self._numbers >= top) & (self._numbers <= bottom)
        cells = filled.reshape(self.rows, self._down, self.columns, self._across).transpose(0, 2, 1, 3)
        bits = np.packbits(cells.reshape(self.rows, self.columns, -1), axis=2)[:, :, 0]
        self._bits[bright] |= bits
        self._owners[bright][bits != 0] = owner

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
