"""Labelled examples as batches, any of them at once and always the same for a seed."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from workbench.data.epochs import ROWS, Epochs, permutation
from workbench.data.records.store import ExampleStore
from workbench.errors import DataError

POOL = 64
"""Groups that are sorted by length together; a pool is drawn at random from all."""

MULTIPLE = 8
"""Batches are as wide as their longest row, rounded up to this."""


class Sized(Protocol):
    """A store of rows, as far as their order depends on it."""

    side: str
    max_length: int
    sources: NDArray[np.uint16] | None
    weights: tuple[float, ...]

    def __len__(self) -> int: ...

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row [rows]."""
        ...


S = TypeVar("S", bound=Sized)


class RowOrder(Generic[S]):
    """The order of a store's rows, addressed by one number that counts through the epochs.

    An epoch has each row as often as the weight of its source says; shuffled, in an order of its own.
    Rows of like length stand together in groups of `batch_bucketing`, 0 for none, best as many as a step
    has: pools of 64 groups of random rows are sorted by length, and the groups mixed again. So a batch is
    seldom padded much, and what an epoch holds stays the same. Groups begin where global indices are
    multiples of their size, as steps do, also in later epochs. Not shuffled, all stand in file order.
    """

    def __init__(self, store: S, *, seed: int = 0, shuffle: bool = True, batch_bucketing: int = 32) -> None:
        self.store, self._seed, self._shuffle, self._group = store, seed, shuffle, batch_bucketing
        self.length = store.max_length
        sources = np.zeros(len(store), np.uint16) if store.sources is None else store.sources
        weighted = store.weights if store.side == "train" else (1.0,) * (int(sources.max(initial=0)) + 1)
        self._epochs = Epochs(sources, weighted, seed, shuffle)
        self._plain: OrderedDict[int, NDArray[np.int64]] = OrderedDict()
        self._sorted: OrderedDict[int, NDArray[np.int64]] = OrderedDict()
        self._first_rows = [0]

    def rows_per_epoch(self, epoch: int) -> int:
        """How many rows an epoch has; the same for all unless a weight is fractional."""
        return len(self._unsorted(0 if self._epochs.all_alike else epoch))

    def first_row(self, epoch: int) -> int:
        """The global index of the first row of an epoch."""
        if self._epochs.all_alike:
            return epoch * self.rows_per_epoch(0)
        while len(self._first_rows) <= epoch:
            self._first_rows.append(self._first_rows[-1] + self.rows_per_epoch(len(self._first_rows) - 1))
        return self._first_rows[epoch]

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The rows of an epoch in their order."""
        if not (self._shuffle and self._group > 1):
            return self._unsorted(epoch)
        if epoch not in self._sorted:
            _keep(self._sorted, epoch, self._bucketed(epoch))
        return self._sorted[epoch]

    def _unsorted(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._plain:
            _keep(self._plain, epoch, self._epochs.documents(epoch))
        return self._plain[epoch]

    def _bucketed(self, epoch: int) -> NDArray[np.int64]:
        order, group = self._unsorted(epoch), self._group
        # What the last batch of the epoch before still takes stands first.
        head = min(-self.first_row(epoch) % group, len(order))
        parts = [order[:head]]
        for pool, start in enumerate(range(head, len(order), POOL * group)):
            rows = order[start : start + POOL * group]
            rows = rows[np.argsort(self.store.lengths[rows], kind="stable")]
            whole = len(rows) // group
            mixed = permutation(whole, self._seed, ROWS, epoch, pool)
            parts += [rows[number * group : (number + 1) * group] for number in mixed]
            parts.append(rows[whole * group :])
        return np.concatenate(parts)

    def indices(self, start: int, count: int) -> NDArray[np.int64]:
        """The rows at global indices `start` … `start + count`, across the ends of epochs.

        Raises `DataError` where there are no rows at all.
        """
        epoch = self.epoch_of(start)
        first = start - self.first_row(epoch)
        found: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        while count > 0:
            taken = self.order(epoch)[first : first + count]
            found.append(taken)
            epoch, first, count = epoch + 1, 0, count - len(taken)
        return np.concatenate(found)

    def leave_out(self, first: int, end: int, epoch: int) -> bool:
        """From `epoch` on, have the rows no more that stand from `first` to before `end`, in epochs before.
        Returns whether that could be done."""
        return self.leave_out_rows(self.indices(first, end - first).tolist(), epoch)

    def leave_out_rows(self, rows: list[int], epoch: int) -> bool:
        """The same, by their numbers in the store."""
        if not self._epochs.leave_out(rows, epoch):
            return False
        for kept in (self._plain, self._sorted):
            for later in [known for known in kept if known >= epoch]:
                del kept[later]
        del self._first_rows[epoch + 1 :]
        return True

    def epoch_of(self, index: int) -> int:
        """The epoch of the row at a global index."""
        if not len(self.store):
            raise DataError(
                "there is not one record to evaluate", hint="raise data.eval_fraction, or add records"
            )
        if self._epochs.all_alike:
            return index // self.rows_per_epoch(0)
        epoch = max(0, int(np.searchsorted(self._first_rows, index, "right")) - 1)
        while self.first_row(epoch + 1) <= index:
            epoch += 1
        return epoch


class TaskRows(RowOrder[ExampleStore]):
    """The rows of a store in batches."""

    def batch(self, start: int, count: int) -> dict[str, NDArray[Any]]:
        """See `ExampleStore.rows`; as wide as the longest row, rounded up to a multiple of 8."""
        indices = self.indices(start, count)
        longest = int(self.store.lengths[indices].max())
        width = min(_wide(longest), max(self.length, longest))
        return self.store.rows(indices, width)

    def report(self, batch_size: int | None = None) -> dict[str, Any]:
        """The first epoch: `rows`, `tokens`, `padding` and `efficiency` in batches of `batch_size` (else of
        the size of the groups), `unsorted_efficiency` of the same batches without bucketing, and `cropped`
        (always 0: what is cut is `truncated` of the store)."""
        size = batch_size or max(1, self._group)
        order = self.order(0)
        tokens = int(self.store.lengths[order].sum())
        places, plain = self._places(order, size), self._places(self._unsorted(0), size)
        return {
            "rows": len(order),
            "tokens": tokens,
            "padding": places - tokens,
            "efficiency": round(tokens / max(places, 1), 6),
            "unsorted_efficiency": round(tokens / max(plain, 1), 6),
            "truncated": self.store.truncated,
            "cropped": 0,
        }

    def length_histogram(self) -> list[tuple[int, int]]:
        """How many rows of the store are at most so long and longer than the one before: pairs of a
        multiple of 8 and a number of rows."""
        lengths, counts = np.unique(-(-self.store.lengths // MULTIPLE) * MULTIPLE, return_counts=True)
        return list(zip(lengths.tolist(), counts.tolist(), strict=True))

    def _places(self, order: NDArray[np.int64], batch_size: int) -> int:
        lengths = self.store.lengths[order]
        starts = range(0, len(order), batch_size)
        parts = [lengths[start : start + batch_size] for start in starts]
        return sum(
            len(part) * min(_wide(int(part.max())), max(self.length, int(part.max()))) for part in parts
        )


def _wide(length: int) -> int:
    return -(-length // MULTIPLE) * MULTIPLE


def _keep(kept: OrderedDict[int, NDArray[np.int64]], epoch: int, order: NDArray[np.int64]) -> None:
    """The last two epochs asked for: a batch may lie across the end of one."""
    kept[epoch] = order
    if len(kept) > 2:
        kept.popitem(last=False)
