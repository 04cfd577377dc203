"""An array that grows at its end without moving what is already in it at every append."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class Growing:
    """A one-dimensional array with room to spare; appending costs O(new) amortised.

    Views handed out stay valid and unchanged for ever: growth writes behind them or into new memory,
    and what is dropped is dropped by making another `Growing`.
    """

    __slots__ = ("_data", "length")

    def __init__(self, data: NDArray[np.float64] | None = None, length: int | None = None) -> None:
        """Start empty, or on `data` without copying it; only its first `length` values count."""
        self._data: FloatArray = np.empty(0) if data is None else data
        self.length = len(self._data) if length is None else length

    @property
    def view(self) -> FloatArray:
        """The values so far, not copied."""
        return self._data[: self.length]

    def append(self, values: FloatArray) -> None:
        """Add `values` at the end."""
        end = self.length + len(values)
        if end > len(self._data):
            grown = np.empty(max(end, len(self._data) * 3 // 2, 64))
            grown[: self.length] = self.view
            self._data = grown
        self._data[self.length : end] = values
        self.length = end
