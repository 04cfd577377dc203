"""What one drawing of a chart leaves to the next: at the live end of a curve few dots are new."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import numpy as np
from numpy.typing import NDArray

from workbench.tui.widgets.chart.canvas import CELL_DOTS, NOBODY, Canvas, CodeArray, Grid, Runs
from workbench.tui.widgets.chart.frame import Frame
from workbench.tui.widgets.chart.palette import bright

StyleArray = NDArray[np.int16]


class Memory:
    """The last axes and the last dots. It never changes what is drawn, only the time it takes."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._axes: Frame | None = None
        self._grid: Grid | None = None
        self._runs: Runs | None = None
        self._codes: CodeArray = np.empty((0, 0), np.uint32)
        self._styles: StyleArray = np.empty((0, 0), np.int16)

    def axes(self, key: Hashable, make: Callable[[], Frame]) -> Frame:
        """What `make` gives, free to be written to; kept as long as the `key` that decides it stays."""
        if self._axes is None or self._key != key:
            self._axes, self._key = make(), key
        return self._axes.copy()

    def cells(self, grid: Grid, runs: Runs) -> tuple[CodeArray, StyleArray]:
        """The characters and style numbers of these dots, rows × columns; not to be written to."""
        across = CELL_DOTS[grid.symbols][0]
        first, end = 0, grid.columns
        before = self._runs
        if before is not None and self._grid == grid and before.pens == runs.pens:
            different = (runs.tops != before.tops) | (runs.bottoms != before.bottoms)
            columns = np.flatnonzero(different.any(axis=0))
            if not len(columns):
                return self._codes, self._styles
            first, end = int(columns[0]) // across, int(columns[-1]) // across + 1
        else:
            self._codes = np.empty((grid.rows, grid.columns), np.uint32)
            self._styles = np.empty((grid.rows, grid.columns), np.int16)
        self._grid, self._runs = grid, runs
        dots = slice(first * across, end * across)
        canvas = Canvas(end - first, grid.rows, grid.symbols)
        canvas.draw(Runs(runs.tops[:, dots], runs.bottoms[:, dots], runs.pens))
        codes, owners, vivid = canvas.cells()
        self._codes[:, first:end] = codes
        self._styles[:, first:end] = np.where(owners == NOBODY, 0, bright(0) + 2 * owners + ~vivid)
        return self._codes, self._styles
