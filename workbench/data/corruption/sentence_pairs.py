"""Pairs of texts for next-sentence prediction (Devlin et al. 2019): does B follow A or not?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.data.draws import Draws
from workbench.data.pieces import PieceRow, PieceRows
from workbench.errors import DataError

FOLLOWS, ELSEWHERE = 0, 1
"""The labels, as transformers numbers them."""


class Pair(NamedTuple):
    """Two runs of tokens, and whether the second follows the first in its document."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    label: int


def check_documents(rows: PieceRows) -> None:
    """Raise `DataError` when there is no other document that a second text could come from."""
    if rows.store.num_documents == 1:
        raise DataError(
            "next-sentence prediction needs two documents, and one side of the split has only one",
            where=f"the {'held-out' if rows.store.side == 'eval' else 'training'} text",
            hint="add documents, raise data.eval_fraction, or set objective.next_sentence_prediction=false",
        )


def pair(row: PieceRow, rows: PieceRows, ends_sentence: NDArray[np.bool_], draws: Draws) -> Pair:
    """Cut the piece of a row in two at the end of a sentence, the one nearest to a random point.

    Half the time, the second part is exchanged for as long a run of another document, from the start of a
    sentence on. A piece of one token cannot be cut; what follows it is always from elsewhere.
    """
    (piece,) = row.pieces
    point, exchange, document, start = draws.uniform(4).tolist()
    tokens, size = piece.tokens, len(piece.tokens)
    if size < 2:
        cut, wanted = size, rows.stride - size
    else:
        cut = 1 + int(point * (size - 1))
        ends = np.flatnonzero(ends_sentence[tokens[:-1]]) + 1
        if len(ends):
            cut = int(ends[np.abs(ends - cut).argmin()])
        wanted = size - cut
    if size >= 2 and exchange >= 0.5:
        return Pair(tokens[:cut], tokens[cut:], FOLLOWS)
    other = int(document * (rows.store.num_documents - 1))
    other += other >= piece.document
    return Pair(tokens[:cut], _run_of(rows, other, wanted, start, ends_sentence), ELSEWHERE)


def _run_of(
    rows: PieceRows, document: int, wanted: int, start: float, ends_sentence: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """At most `wanted` tokens of a document from a random place on; `start` in [0, 1)."""
    framed = rows.store.document(document)
    body = framed[len(rows.frame.prefix) : len(framed) - len(rows.frame.suffix)]
    begin = int(start * (max(0, len(body) - wanted) + 1))
    if begin:
        # On to the next sentence, as far as the run would have gone and short of the document's end.
        ahead = body[begin - 1 : min(begin + wanted, len(body) - 1)]
        ends = np.flatnonzero(ends_sentence[ahead])
        begin += int(ends[0]) if len(ends) else 0
    return body[begin : begin + wanted].astype(np.int64)
