"""Rows as plain values: every token with its texts, and what it attends to as runs of places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from workbench.inspection.pieces import Pieces
    from workbench.objectives.view import RowView, StreamView, TokenView

Runs = list[list[int]]


def row_of(view: RowView, index: int, pieces: Pieces) -> dict[str, Any]:
    """One row; `index` counts from the start of the epoch."""
    return {
        "index": index,
        "label": view.label,
        "notes": list(view.notes),
        "streams": [_stream(stream, pieces) for stream in view.streams],
    }


def _stream(stream: StreamView, pieces: Pieces) -> dict[str, Any]:
    return {
        "name": stream.name,
        "tokens": [_token(token, pieces) for token in stream.tokens],
        "attends": runs_of(stream.attends),
        "cross": None if stream.cross is None else runs_of(stream.cross),
    }


def _token(token: TokenView, pieces: Pieces) -> dict[str, Any]:
    return {
        "id": int(token.id),
        "text": pieces.text(int(token.id)),
        "state": token.state,
        "position": int(token.position),
        "document": int(token.document),
        "target": _number(token.target),
        "target_text": _text(token.target, pieces),
        "original": _number(token.original),
        "original_text": _text(token.original, pieces),
        "note": token.note,
    }


def _number(id: int | None) -> int | None:
    return None if id is None else int(id)


def _text(id: int | None, pieces: Pieces) -> str | None:
    return None if id is None else pieces.text(int(id))


def runs_of(visible: NDArray[np.bool_]) -> list[Runs]:
    """For each row of `visible` [n, m], the runs [first, last] of places that are true."""
    rows, width = visible.shape
    padded = np.zeros((rows, width + 2), np.int8)
    padded[:, 1:-1] = visible
    steps = np.diff(padded, axis=1)
    begins, ends = np.argwhere(steps == 1), np.argwhere(steps == -1)
    runs: list[Runs] = [[] for _ in range(rows)]
    for (row, begin), (_, end) in zip(begins.tolist(), ends.tolist(), strict=True):
        runs[row].append([begin, end - 1])
    return runs
