"""Batches of one width, and parts of them: what is split by tokens or sent through a pipeline has fixed
shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.objectives.base import Batch
from workbench.objectives.clm import IGNORE

SPLIT = ("input_ids", "position_ids", "targets")
"""The arrays of the objectives that can be split, each [rows, width]."""


def widened(batch: Batch, width: int) -> Batch:
    """A batch whose rows are padded on the right to `width`. A causal model's answers at the real places, and
    the targets, stay what they are."""
    missing = width - batch.arrays["input_ids"].shape[1]
    if missing == 0:
        return batch
    ids, positions, targets = (batch.arrays[name] for name in SPLIT)
    further = positions[:, -1:] + 1 + np.arange(missing)
    arrays = {
        "input_ids": _with(ids, np.zeros((len(ids), missing), ids.dtype)),
        "position_ids": _with(positions, further.astype(positions.dtype)),
        "targets": _with(targets, np.full((len(ids), missing), IGNORE, targets.dtype)),
    }
    return Batch(arrays, batch.counts, batch.num_tokens, batch.extra)


def rounded(width: int, multiple: int) -> int:
    """The next multiple."""
    return -(-width // multiple) * multiple


def width_of(batches: Sequence[Batch]) -> int:
    """The widest row."""
    return max(int(batch.arrays["input_ids"].shape[1]) for batch in batches)


def parts(batches: Sequence[Batch], count: int, width: int) -> list[Batch]:
    """The rows of some batches as `count` batches of rows of `width`.

    Only the arrays are cut: counts stay with the step as a whole, and these have none.
    """
    wide = [widened(batch, width) for batch in batches]
    together = {name: np.concatenate([batch.arrays[name] for batch in wide]) for name in SPLIT}
    rows = len(together["input_ids"])
    assert rows % count == 0
    size = rows // count
    return [
        Batch({name: array[n : n + size] for name, array in together.items()}, (), 0)
        for n in range(0, rows, size)
    ]


def _with(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([left, right], axis=1)
