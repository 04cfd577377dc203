"""What is counted over a page of rows, and over all documents of a side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from workbench.objectives.view import RowView


def state_counts(views: Sequence[RowView]) -> dict[str, int]:
    """How many tokens of the rows are in each state, all streams together."""
    return dict(Counter(token.state for view in views for stream in view.streams for token in stream.tokens))


def lengths_of(store: Any) -> NDArray[np.int64]:
    """The tokens of each document, or of each example, of a side."""
    if hasattr(store, "lengths"):
        return np.asarray(store.lengths, np.int64)
    offsets: NDArray[np.int64] = np.asarray(store.offsets, np.int64)
    return offsets[1:] - offsets[:-1]


def histogram(store: Any) -> dict[str, Any]:
    """Lengths in tokens in bins that double: `bins` of `from`, `to` (inclusive), `count` and `tokens`;
    and the shortest, median, mean and longest."""
    lengths = lengths_of(store)
    if not len(lengths):
        return {"count": 0, "min": None, "median": None, "mean": None, "max": None, "bins": []}
    # Lengths 2ⁿ … 2ⁿ⁺¹ − 1 share bin n; the exponent of a float is exact where log2 rounds.
    exponents = np.frexp(np.maximum(lengths, 1).astype(np.float64))[1] - 1
    bins = []
    for exponent in range(int(exponents.min()), int(exponents.max()) + 1):
        inside = exponents == exponent
        bins.append(
            {
                "from": 2**exponent,
                "to": 2 ** (exponent + 1) - 1,
                "count": int(inside.sum()),
                "tokens": int(lengths[inside].sum()),
            }
        )
    return {
        "count": len(lengths),
        "min": int(lengths.min()),
        "median": float(np.median(lengths)),
        "mean": float(lengths.mean()),
        "max": int(lengths.max()),
        "bins": bins,
    }
