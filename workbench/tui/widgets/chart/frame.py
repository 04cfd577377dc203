"""A chart as a grid of characters and style numbers, which can be compared with the one before."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.cells import get_character_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

# A cursor move and a new style cost about as many bytes as this many unchanged cells.
MERGE_GAP = 6
# Stands in the second cell of a wide character.
CONTINUED = "\0"


def clean(text: str) -> str:
    """Text without what would move the cursor or take no room: it is shown literally, in one line."""
    if text.isascii() and text.isprintable():
        return text
    spaced = "".join(" " if char.isspace() else char for char in text)
    return "".join(char for char in spaced if unicodedata.category(char)[0] not in "CM")


@lru_cache(maxsize=1024)
def cells_of(text: str) -> str:
    """One character a cell: cleaned, with a mark in the second cell of a wide character."""
    text = clean(text)
    if text.isascii():
        return text
    return "".join(char + CONTINUED if get_character_cell_size(char) == 2 else char for char in text)


class Frame:
    """`width`×`height` cells; `codes` are code points, `styles` index a table of rich styles."""

    def __init__(self, width: int, height: int, ellipsis: str = "…") -> None:
        self.width, self.height = width, height
        self._ellipsis = ellipsis
        self.codes = np.full((height, width), ord(" "), np.uint32)
        self.styles = np.zeros((height, width), np.int16)

    def copy(self) -> Frame:
        """The same cells, to be written to apart from these."""
        other = Frame.__new__(Frame)
        other.width, other.height, other._ellipsis = self.width, self.height, self._ellipsis
        other.codes, other.styles = self.codes.copy(), self.styles.copy()
        return other

    def text(self, row: int, column: int, text: str, style: int, end: int | None = None) -> int:
        """Write text from a cell on, cut off at `end` with an ellipsis; returns the cell behind it."""
        end = self.width if end is None else min(end, self.width)
        room = end - column
        if not 0 <= row < self.height or column < 0 or room <= 0:
            return column
        cells = cells_of(text)
        if len(cells) > room:
            cells = cells[: room - 1]
            if cells and get_character_cell_size(cells[-1]) == 2:
                cells = cells[:-1]
            cells += self._ellipsis
        self.codes[row, column : column + len(cells)] = np.frombuffer(cells.encode("utf-32-le"), np.uint32)
        self.styles[row, column : column + len(cells)] = style
        return column + len(cells)

    def fill(self, rows: slice | int, columns: slice | int, char: str, style: int) -> None:
        """Write one narrow character into all cells of a rectangle."""
        self.codes[rows, columns] = ord(char)
        self.styles[rows, columns] = style

    def strip(self, row: int, table: Sequence[Style], start: int = 0, end: int | None = None) -> Strip:
        """Some cells of one row as Textual shows them; every segment has a style: NO_COLOR needs one."""
        end = self.width if end is None else end
        cells = self.codes[row, start:end].tobytes().decode("utf-32-le")
        styles = self._runs(row)[start:end]
        breaks = [0, *(np.flatnonzero(styles[1:] != styles[:-1]) + 1).tolist(), end - start]
        segments = [
            Segment(cells[first:last].replace(CONTINUED, ""), table[styles[first]])
            for first, last in zip(breaks, breaks[1:], strict=False)
            if last > first
        ]
        return Strip(segments, end - start)

    def _runs(self, row: int) -> NDArray[np.int16]:
        """The styles of a row, with blanks in that of what stands before them: fewer changes to send."""
        written = np.where(self.codes[row] != ord(" "), np.arange(self.width), 0)
        runs: NDArray[np.int16] = self.styles[row, np.maximum.accumulate(written)]
        return runs

    def changed(self, before: Frame) -> list[Region]:
        """The spans that differ from an earlier frame of the same size, near ones joined."""
        different = (self.codes != before.codes) | ((self.styles != before.styles) & (self.codes != ord(" ")))
        regions: list[Region] = []
        for row in np.flatnonzero(different.any(axis=1)).tolist():
            columns = np.flatnonzero(different[row])
            cuts = np.flatnonzero(np.diff(columns) > MERGE_GAP)
            starts = columns[np.concatenate(([0], cuts + 1))].tolist()
            ends = (columns[np.concatenate((cuts, [len(columns) - 1]))] + 1).tolist()
            for start, end in zip(starts, ends, strict=True):
                first, last = self._whole(before, row, start, end)
                regions.append(Region(first, row, last - first, 1))
        return regions

    def _whole(self, before: Frame, row: int, start: int, end: int) -> tuple[int, int]:
        """The span widened so that it cuts no wide character in two, now or before."""
        while start > 0 and (self.codes[row, start] == 0 or before.codes[row, start] == 0):
            start -= 1
        while end < self.width and (self.codes[row, end] == 0 or before.codes[row, end] == 0):
            end += 1
        return start, end
