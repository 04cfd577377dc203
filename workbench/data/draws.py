"""Random numbers that belong to a place, not to a moment: the same however often and whenever drawn.

What an objective draws for a row follows from the seed and the row's number alone. So a run that was
killed and resumed, one on two processes and one on four, and the label inspector all see the same row,
and no state of a generator needs to be kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Draws:
    """A stream of random numbers for one purpose and place, given as whole numbers ≥ 0.

    Made from raw PCG64 output, which NumPy keeps the same for ever; its higher-level methods it may change.
    """

    def __init__(self, *entropy: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(entropy))

    def uniform(self, count: int) -> NDArray[np.float64]:
        """`count` numbers in [0, 1)."""
        raw: NDArray[np.uint64] = self._bits.random_raw(count)
        return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def integers(self, count: int, high: int) -> NDArray[np.int64]:
        """`count` whole numbers in [0, high)."""
        return (self.uniform(count) * high).astype(np.int64)

    def permutation(self, count: int) -> NDArray[np.int64]:
        """The numbers 0…count-1 in random order."""
        return np.argsort(self._bits.random_raw(count), kind="stable").astype(np.int64)

    def poisson(self, count: int, mean: float) -> NDArray[np.int64]:
        """`count` numbers of a Poisson distribution, by inverting its distribution function."""
        term = cumulative = np.exp(-mean)
        table, k = [cumulative], 0
        while cumulative < 1 - 1e-12 and k < 10 * mean + 50:
            k += 1
            term *= mean / k
            cumulative += term
            table.append(cumulative)
        return np.searchsorted(np.array(table), self.uniform(count), "right").astype(np.int64)
