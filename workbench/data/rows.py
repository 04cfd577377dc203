"""Documents to rows of equal length, any of them at once and always the same for a seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.data.epoch_rows import EpochRows, Layout
from workbench.data.epochs import Indices
from workbench.data.token_store import TokenStore

NO_TARGET = -100
"""What torch's cross-entropy leaves out."""

PADDING = -1


class Row(NamedTuple):
    """One row of L tokens.

    `input_ids` [L]; `targets` [L], the token that follows each input, or NO_TARGET; `position_ids` [L];
    `document_ids` [L], counted from 0 within the row, PADDING behind the last token.
    """

    input_ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    document_ids: NDArray[np.int32]
    num_targets: int


class Batch(NamedTuple):
    """Several rows, each field [count, L]; `num_targets` over all of them."""

    input_ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    document_ids: NDArray[np.int32]
    num_targets: int


class PackedRows(EpochRows):
    """Rows for predicting the next token: inputs, and the same shifted by one as targets.

    With packing, the documents of an epoch form one stream x, and row i has inputs x[iL:(i+1)L] and
    targets x[iL+1:(i+1)L+1]: every token but the first of the stream is a target once, none is cropped,
    and only the last row is padded. Without, each document is cut into pieces in the same way, one a row.

    With `isolate`, the first token of a document is no target, and positions start at 0 in each document
    and each row; padding has position 0. Without, a document's first token is predicted from the end of
    the one before, and positions run from 0 to L-1 through each row.
    """

    def __init__(
        self,
        store: TokenStore,
        length: int,
        *,
        packing: bool = True,
        isolate: bool = True,
        shuffle: bool = True,
        seed: int = 0,
        weights: Sequence[float] | None = None,
    ) -> None:
        """`weights` [sources] replaces the store's own. Raises `DataError` if there is less than one row."""
        self.isolate = isolate
        super().__init__(store, length, packing=packing, shuffle=shuffle, seed=seed, weights=weights)

    def _smallest_row(self) -> int:
        return self.length + 1 if self.packing else 2

    def _make_starts(self, sizes: Indices) -> tuple[Indices, int]:
        if not self.packing:
            # A lone token has nothing to predict it from.
            sizes = -(-(sizes - 1) // self.length)
        starts = np.concatenate(([0], np.cumsum(sizes)))
        total = int(starts[-1])
        return starts, -(-max(0, total - 1) // self.length) if self.packing else total

    def row(self, epoch: int, index: int) -> Row:
        """One row of an epoch."""
        layout = self._layout(epoch)
        index = self._place_in(layout, epoch, index)
        return self._packed(layout, index) if self.packing else self._piece(layout, index)

    def batch(self, start: int, count: int) -> Batch:
        """`count` rows from global index `start` on, across the ends of epochs."""
        rows = [self.row(epoch, index) for epoch, index in self.places(start, count)]
        return Batch(
            np.stack([row.input_ids for row in rows]),
            np.stack([row.targets for row in rows]),
            np.stack([row.position_ids for row in rows]),
            np.stack([row.document_ids for row in rows]),
            sum(row.num_targets for row in rows),
        )

    def report(self) -> dict[str, float | int]:
        """The first epoch: `rows`, `tokens`, `padding`, `efficiency` (share of places used), `cropped`."""
        layout = self._layout(0)
        places = layout.rows * self.length
        lengths = self._sizes(layout.documents)
        tokens = int(lengths.sum())
        # The last token of the stream, or of a document on its own, may only ever be a target.
        if self.packing:
            used = min(tokens, places)
        else:
            pieces = np.diff(layout.starts)
            used = int(np.minimum(lengths, pieces * self.length).sum())
        return {
            "rows": layout.rows,
            "tokens": tokens,
            "padding": places - used,
            "efficiency": round(used / places, 6) if places else 0.0,
            "cropped": 0,
        }

    def _packed(self, layout: Layout, index: int) -> Row:
        starts = layout.starts
        low = index * self.length
        high = min(low + self.length + 1, int(starts[-1]))
        first = int(np.searchsorted(starts, low, "right")) - 1
        last = int(np.searchsorted(starts, high, "left"))
        begins = np.maximum(starts[first:last], low)
        counts = np.minimum(starts[first + 1 : last + 1], high) - begins
        places = np.arange(low, high)
        shift = self._offsets[layout.documents[first:last]] - starts[first:last]
        tokens = self.store.tokens[places + np.repeat(shift, counts)].astype(np.int64)
        documents = np.repeat(np.arange(last - first, dtype=np.int32), counts)
        return self._row(tokens, documents, places - np.repeat(begins, counts))

    def _piece(self, layout: Layout, index: int) -> Row:
        number = int(np.searchsorted(layout.starts, index, "right")) - 1
        low = (index - int(layout.starts[number])) * self.length
        document = self.store.document(int(layout.documents[number]))
        tokens = document[low : low + self.length + 1].astype(np.int64)
        return self._row(tokens, np.zeros(len(tokens), np.int32), np.arange(len(tokens)))

    def _row(
        self, tokens: NDArray[np.int64], documents: NDArray[np.int32], positions: NDArray[np.int64]
    ) -> Row:
        """Lay out up to L+1 tokens: all but the last are inputs, all but the first are targets."""
        length = self.length
        used = min(len(tokens), length)
        follows = len(tokens) - 1
        input_ids = np.zeros(length, np.int64)
        input_ids[:used] = tokens[:used]
        targets = np.full(length, NO_TARGET, np.int64)
        targets[:follows] = tokens[1:]
        document_ids = np.full(length, PADDING, np.int32)
        document_ids[:used] = documents[:used]
        if self.isolate:
            targets[:follows][documents[1:] != documents[:-1]] = NO_TARGET
            position_ids = np.zeros(length, np.int64)
            position_ids[:used] = positions[:used]
        else:
            position_ids = np.arange(length, dtype=np.int64)
        return Row(input_ids, targets, position_ids, document_ids, int((targets != NO_TARGET).sum()))
