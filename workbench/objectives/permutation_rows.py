"""Rows of framed pieces with an order in which some of their tokens are predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.data.corruption.permutation import CONTEXT, choose_spans, ranks
from workbench.data.draws import Draws
from workbench.data.rows import NO_TARGET, PADDING
from workbench.objectives.base import Batch
from workbench.objectives.padding import padded, rounded_up
from workbench.objectives.piece_batches import PieceBatches

if TYPE_CHECKING:
    from workbench.data.pieces import PieceRow
    from workbench.recipe import ObjectiveSection

ORDERS = 21
"""What a draw is for."""

CLS_SEGMENT = 2
"""The segment of XLNet's last token."""

Tokens = NDArray[np.int64]


class Ordered(NamedTuple):
    """One row [n]: tokens with frames, the piece each is in, its segment, and its rank in the order."""

    tokens: Tokens
    pieces: Tokens
    segments: Tokens
    ranks: Tokens


@dataclass(frozen=True)
class PermutationRows(PieceBatches):
    """Batches of rows with a factorisation order each, drawn by the number of the row."""

    section: ObjectiveSection
    special: Tokens
    pad_id: int
    seed: int
    side: int
    isolate: bool

    def batch(self, start: int, count: int) -> Batch:
        """`count` rows from global index `start` on."""
        return self.assemble([self.order(row) for row in self.source.rows(start, count)])

    def order(self, row: PieceRow) -> Ordered:
        """Frame a row and draw its order, by its number."""
        frame = self.source.frame
        parts = [np.array([*frame.prefix, *piece.tokens, *frame.suffix]) for piece in row.pieces]
        sizes = [len(part) for part in parts]
        tokens = np.concatenate(parts)
        # The frame's last token is the class token, which has a segment of its own.
        segments = np.zeros(len(tokens), np.int64)
        segments[np.cumsum(sizes) - 1] = CLS_SEGMENT
        pieces = np.repeat(np.arange(len(parts)), sizes)
        draws = Draws(self.seed, ORDERS, self.side, row.index)
        may_predict = ~np.isin(tokens, self.special)
        section = self.section
        chosen = choose_spans(may_predict, section.plm_probability, section.max_span_length, draws)
        return Ordered(tokens, pieces, segments, ranks(chosen, draws))

    def assemble(self, rows: list[Ordered]) -> Batch:
        """Pad rows to one length L and P predictions. Arrays: `input_ids`, `token_type_ids`, `groups`
        (tokens of a group may see each other, −1 is padding), `ranks` [rows, L]; `places`, `targets`
        [rows, P], where predictions are made and of what, PADDING and NO_TARGET beyond a row's own."""
        width = self.length
        if not self.source.packing:
            width = rounded_up(max(len(row.tokens) for row in rows), width)
        places = [np.flatnonzero(row.ranks != CONTEXT) for row in rows]
        predictions = rounded_up(max(len(found) for found in places))
        targets = padded(
            [row.tokens[found] for row, found in zip(rows, places, strict=True)], predictions, NO_TARGET
        )
        pieces = padded([row.pieces for row in rows], width, PADDING)
        arrays = {
            "input_ids": padded([row.tokens for row in rows], width, self.pad_id),
            "token_type_ids": padded([row.segments for row in rows], width, 0),
            "groups": pieces if self.isolate else np.minimum(pieces, 0),
            "ranks": padded([row.ranks for row in rows], width, CONTEXT),
            "places": padded(places, predictions, PADDING),
            "targets": targets,
        }
        count = int((targets != NO_TARGET).sum())
        return Batch(arrays, (count,), int((pieces != PADDING).sum()), {"document_ids": pieces})
