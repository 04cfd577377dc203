"""Documents to rows of equal length, any of them at once and always the same for a seed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.data.epochs import ROWS, Epochs, Indices, permutation
from workbench.data.token_store import TokenStore
from workbench.errors import DataError

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


@dataclass(frozen=True)
class _Layout:
    """One epoch: its documents and where each begins, in tokens of the stream or in rows.

    `starts` [len(documents) + 1] counts tokens when packing, rows when not. `order` [rows] is the order
    in which rows are trained on, None for their own: neighbours in the stream come from one document, and
    a batch of them would be a batch of one kind of text.
    """

    documents: Indices
    starts: Indices
    rows: int
    order: Indices | None


class PackedRows:
    """The rows of a store, addressed by epoch and index or by one number that counts through the epochs.

    With packing, the documents of an epoch form one stream x, and row i has inputs x[iL:(i+1)L] and
    targets x[iL+1:(i+1)L+1]: every token but the first of the stream is a target once, none is cropped,
    and only the last row is padded. Without, each document is cut into pieces in the same way, one a row.

    With `isolate`, the first token of a document is no target, and positions start at 0 in each document
    and each row; padding has position 0. Without, a document's first token is predicted from the end of
    the one before, and positions run from 0 to L-1 through each row.

    With `shuffle`, documents are in another order in each epoch, and so are the rows made of them.

    Memory: 16 bytes a document and 8 a row for each of the last two epochs asked for. A row costs O(L).
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
        self.store, self.length = store, length
        self.packing, self.isolate = packing, isolate
        self._offsets: Indices = np.asarray(store.offsets)
        self._epochs = Epochs(store.sources, store.weights if weights is None else weights, seed, shuffle)
        self._layouts: OrderedDict[int, _Layout] = OrderedDict()
        self._first_rows = [0]
        self._seed, self._shuffle = seed, shuffle
        if store.side == "train":
            self._check_size()

    def _check_size(self) -> None:
        tokens = int(self._sizes(self._layout(0).documents).sum())
        needed = self.length + 1 if self.packing else 2
        if tokens >= needed and self.rows_per_epoch(0):
            return
        weights = "" if self.store.num_tokens == tokens else f" (of {self.store.num_tokens:,}, by weight)"
        raise DataError(
            f"the training text is too short: an epoch has {tokens:,} tokens{weights}, "
            f"one row of {self.length:,} takes {needed:,}",
            where=f"{self.store.num_documents:,} documents, {self.store.num_bytes:,} bytes",
            hint=f"more text, or a data.max_length of at most {max(8, tokens - 1)}"
            if tokens > 8
            else "name more text as data.sources",
        )

    def rows_per_epoch(self, epoch: int) -> int:
        """How many rows an epoch has; the same for all unless a weight is fractional."""
        return self._layout(0 if self._epochs.all_alike else epoch).rows

    def first_row(self, epoch: int) -> int:
        """The global index of the first row of an epoch."""
        if self._epochs.all_alike:
            return epoch * self.rows_per_epoch(0)
        while len(self._first_rows) <= epoch:
            self._first_rows.append(self._first_rows[-1] + self.rows_per_epoch(len(self._first_rows) - 1))
        return self._first_rows[epoch]

    def locate(self, index: int) -> tuple[int, int]:
        """Epoch, and index in it, of the row with a global index. Raises `DataError` if there are no rows."""
        if self._epochs.all_alike and not self.rows_per_epoch(0):
            raise DataError("there is not one row to evaluate", hint="raise data.eval_fraction, or add text")
        if self._epochs.all_alike:
            return divmod(index, self.rows_per_epoch(0))
        epoch = max(0, int(np.searchsorted(self._first_rows, index, "right")) - 1)
        while self.first_row(epoch + 1) <= index:
            epoch += 1
        return epoch, index - self.first_row(epoch)

    def row(self, epoch: int, index: int) -> Row:
        """One row of an epoch."""
        layout = self._layout(epoch)
        if not 0 <= index < layout.rows:
            raise IndexError(f"row {index} of {layout.rows} in epoch {epoch}")
        if layout.order is not None:
            index = int(layout.order[index])
        return self._packed(layout, index) if self.packing else self._piece(layout, index)

    def batch(self, start: int, count: int) -> Batch:
        """`count` rows from global index `start` on, across the ends of epochs."""
        epoch, index = self.locate(start)
        rows: list[Row] = []
        while len(rows) < count:
            here = min(count - len(rows), self.rows_per_epoch(epoch) - index)
            rows += (self.row(epoch, index + offset) for offset in range(here))
            epoch, index = epoch + 1, 0
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

    def _sizes(self, documents: Indices) -> Indices:
        return self._offsets[documents + 1] - self._offsets[documents]

    def _layout(self, epoch: int) -> _Layout:
        if epoch in self._layouts:
            self._layouts.move_to_end(epoch)
            return self._layouts[epoch]
        documents = self._epochs.documents(epoch)
        sizes = self._sizes(documents)
        if not self.packing:
            # A lone token has nothing to predict it from.
            sizes = -(-(sizes - 1) // self.length)
        starts = np.concatenate(([0], np.cumsum(sizes)))
        total = int(starts[-1])
        rows = -(-max(0, total - 1) // self.length) if self.packing else total
        order = permutation(rows, self._seed, ROWS, epoch) if self._shuffle else None
        layout = self._layouts[epoch] = _Layout(documents, starts, rows, order)
        if len(self._layouts) > 2:
            self._layouts.popitem(last=False)
        return layout

    def _packed(self, layout: _Layout, index: int) -> Row:
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

    def _piece(self, layout: _Layout, index: int) -> Row:
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
