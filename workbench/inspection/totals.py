"""What is counted over a page of rows, and over all documents of a side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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


def histogram(lengths: NDArray[np.int64]) -> list[dict[str, int]]:
    """Lengths in tokens in bins that double: `from`, `to` (inclusive), `count` and `tokens` of each."""
    if not len(lengths):
        return []
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
    return bins


def summary(lengths: NDArray[np.int64]) -> dict[str, Any]:
    """How many documents or examples there are; the shortest, median, mean and longest, in tokens."""
    if not len(lengths):
        return {"count": 0, "min": None, "median": None, "mean": None, "max": None}
    return {
        "count": len(lengths),
        "min": int(lengths.min()),
        "median": float(np.median(lengths)),
        "mean": float(lengths.mean()),
        "max": int(lengths.max()),
    }


LEFT_OUT = {
    "dropped_from_train": "also in the held-out text",
    "blank_documents": "blank",
    "truncated": "cut to the row's length",
    "unanswered": "nothing to learn from is left of them",
    "too_long": "answers longer than the row",
    "repeated": "answers that stand there twice",
    "empty": "blank answers",
    "stripped": "answers whose first blanks were taken off",
    "cropped": "tokens cropped",
    "invalid_utf8": "halves of characters replaced",
    "cut_files": "long files made into several",
}
"""What a report counts of text that was left out or changed, and why, in words."""


def left_out(*reports: Mapping[str, Any]) -> dict[str, int]:
    """How many documents, examples or tokens were left out, cut or changed, by reason; none are not told."""
    told: dict[str, int] = {}
    for report in reports:
        for name, words in LEFT_OUT.items():
            if report.get(name):
                told[words] = int(report[name])
        for reason, count in report.get("uninformative", {}).items():
            told[reason] = int(count)
    return told
