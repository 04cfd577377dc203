"""Rows of unequal length as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MULTIPLE = 8
"""Rows that are not packed are padded to a multiple of this, which matrix units like."""


def padded(rows: Sequence[NDArray[Any]], width: int, value: float) -> NDArray[Any]:
    """Rows [n_i] as [rows, width], filled up with `value`."""
    out = np.full((len(rows), width), value, rows[0].dtype)
    for target, row in zip(out, rows, strict=True):
        target[: len(row)] = row
    return out


def rounded_up(length: int, most: int | None = None) -> int:
    """A length as the next multiple of 8, but not beyond `most`."""
    wide = -(-length // MULTIPLE) * MULTIPLE
    return wide if most is None else min(wide, most)
