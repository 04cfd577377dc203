"""What all ways of making rows share: an order of documents and rows for each epoch, and addresses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.data.epochs import ROWS, Epochs, Indices, permutation
from workbench.data.token_store import TokenStore
from workbench.errors import DataError

LONG = 8
"""A document that would fill more rows than so many is not left out for the sake of one of them."""


@dataclass(frozen=True)
class Layout:
    """One epoch: its documents and where each begins, in tokens of the stream or in rows.

    `starts` [len(documents) + 1] counts tokens when packing, rows when not. `order` [rows] is the order
    in which rows are trained on, None for their own: neighbours in the stream come from one document, and
    a batch of them would be a batch of one kind of text.
    """

    documents: Indices
    starts: Indices
    rows: int
    order: Indices | None


class EpochRows(ABC):
    """The rows of a store, addressed by epoch and index or by one number that counts through the epochs.

    With `shuffle`, documents are in another order in each epoch, and so are the rows made of them.

    Memory: 16 bytes a document and 8 a row for each of the last two epochs asked for. A row costs O(L).
    """

    def __init__(
        self,
        store: TokenStore,
        length: int,
        *,
        packing: bool,
        shuffle: bool,
        seed: int,
        weights: Sequence[float] | None = None,
    ) -> None:
        """`weights` [sources] replaces the store's own. Raises `DataError` if there is less than one row."""
        self.store, self.length, self.packing = store, length, packing
        self._offsets: Indices = np.asarray(store.offsets)
        self._epochs = Epochs(store.sources, store.weights if weights is None else weights, seed, shuffle)
        self._layouts: OrderedDict[int, Layout] = OrderedDict()
        self._first_rows = [0]
        self._seed, self._shuffle = seed, shuffle
        if store.side == "train":
            self._check_size()

    @abstractmethod
    def _make_starts(self, sizes: Indices) -> tuple[Indices, int]:
        """`Layout.starts` and the number of rows, from the sizes [documents] of the documents in order."""

    @abstractmethod
    def _smallest_row(self) -> int:
        """The tokens that the training text must have for one row."""

    def _check_size(self) -> None:
        tokens = int(self._sizes(self._layout(0).documents).sum())
        needed = self._smallest_row()
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

    def places(self, start: int, count: int) -> Iterator[tuple[int, int]]:
        """Epoch and index of `count` rows from global index `start` on, across the ends of epochs."""
        epoch, index = self.locate(start)
        while count:
            here = min(count, self.rows_per_epoch(epoch) - index)
            yield from ((epoch, index + offset) for offset in range(here))
            epoch, index, count = epoch + 1, 0, count - here

    def leave_out(self, first: int, end: int, epoch: int) -> bool:
        """From `epoch` on, have no more of the documents that the rows from `first` to before `end` are made
        of, but for long ones. All these rows are of epochs before. Returns whether anything is left out."""
        found = {
            document for place in self.places(first, end - first) for document in self.documents_of(*place)
        }
        documents = np.array(sorted(found), np.int64)
        documents = documents[self._sizes(documents) <= LONG * self.length]
        if not self._epochs.leave_out(documents.tolist(), epoch):
            return False
        for later in [known for known in self._layouts if known >= epoch]:
            del self._layouts[later]
        del self._first_rows[epoch + 1 :]
        return True

    def epoch_of(self, index: int) -> int:
        """The epoch of the row with a global index."""
        return self.locate(index)[0]

    def documents_of(self, epoch: int, index: int) -> list[int]:
        """The documents, by their numbers in the store, that a row of an epoch has tokens of."""
        layout = self._layout(epoch)
        place = self._place_in(layout, epoch, index)
        if not self.packing:
            number = int(np.searchsorted(layout.starts, place, "right")) - 1
            return [int(layout.documents[number])]
        low = place * self._stride()
        high = min(low + self._stride(), int(layout.starts[-1]))
        first = int(np.searchsorted(layout.starts, low, "right")) - 1
        last = int(np.searchsorted(layout.starts, high, "left"))
        return [int(document) for document in layout.documents[first:last]]

    def _stride(self) -> int:
        """Tokens of the stream that a row takes."""
        return self.length

    def _sizes(self, documents: Indices) -> Indices:
        return self._offsets[documents + 1] - self._offsets[documents]

    def _layout(self, epoch: int) -> Layout:
        if epoch in self._layouts:
            self._layouts.move_to_end(epoch)
            return self._layouts[epoch]
        documents = self._epochs.documents(epoch)
        starts, rows = self._make_starts(self._sizes(documents))
        order = permutation(rows, self._seed, ROWS, epoch) if self._shuffle else None
        layout = self._layouts[epoch] = Layout(documents, starts, rows, order)
        if len(self._layouts) > 2:
            self._layouts.popitem(last=False)
        return layout

    def _place_in(self, layout: Layout, epoch: int, index: int) -> int:
        """Which row of the stream stands at `index` of an epoch."""
        if not 0 <= index < layout.rows:
            raise IndexError(f"row {index} of {layout.rows} in epoch {epoch}")
        return index if layout.order is None else int(layout.order[index])
