"""Rows as a person inspects them: each token with what was done to it and what it must predict.

An objective makes these from the very arrays that the model gets, so that what is shown is what is
trained on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

State = Literal[
    "context", "supervised", "masked", "random", "kept", "replaced", "sentinel", "special", "padding"
]
"""What a token is to the objective.

context: read, not predicted; supervised: predicted as it stands; masked, random, kept: selected for
prediction and hidden, exchanged or left; replaced: to be told from the original; sentinel: stands for a
span that was cut out; special: a frame; padding: nothing.
"""


@dataclass(frozen=True)
class TokenView:
    """One place of a row. `id` is what the model reads there, `original` what the text says where that is
    something else, `target` what is to be predicted there; `document` counts in the row, −1 is padding."""

    id: int
    state: State
    position: int
    document: int
    target: int | None = None
    original: int | None = None
    note: str = ""


@dataclass(frozen=True)
class StreamView:
    """One sequence of a row: the input, or a decoder's. `attends` [n, n]: row i sees column j;
    `cross` [n, m]: a decoder's view of the input."""

    name: str
    tokens: list[TokenView]
    attends: NDArray[np.bool_]
    cross: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class RowView:
    """One row: its sequences, and what concerns all of it (a label, pieces that were cut)."""

    index: int
    streams: list[StreamView]
    label: str = ""
    notes: list[str] = field(default_factory=list)
