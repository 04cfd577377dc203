"""Labelled examples as batches, any of them at once and always the same for a seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.data.epochs import ORDER, ROWS, permutation
from workbench.data.records.store import ExampleStore

POOL = 2048
"""Examples that are sorted by length together; a pool is drawn at random from all."""

GROUP = 16
"""Neighbours of like length that stay together when a pool is mixed again."""

MULTIPLE = 8
"""Batches are as wide as their longest row, rounded up to this."""


class TaskRows:
    """The rows of a store in batches, addressed by one number that counts through the epochs.

    Shuffled, each epoch has an order of its own. With `batch_bucketing`, rows of like length stand together:
    pools of random rows are sorted by length and mixed again in small groups, so a batch is seldom padded
    much, and what an epoch holds stays the same.
    """

    def __init__(
        self, store: ExampleStore, *, seed: int = 0, shuffle: bool = True, batch_bucketing: bool = True
    ) -> None:
        self.store, self._seed, self._shuffle, self._bucketing = store, seed, shuffle, batch_bucketing
        self.length = store.max_length
        self._orders: dict[int, NDArray[np.int64]] = {}

    def rows_per_epoch(self, epoch: int) -> int:
        """How many rows an epoch has."""
        return len(self.store)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The rows of an epoch in their order."""
        if epoch not in self._orders:
            self._orders = {kept: order for kept, order in self._orders.items() if kept == epoch - 1}
            self._orders[epoch] = self._make_order(epoch)
        return self._orders[epoch]

    def _make_order(self, epoch: int) -> NDArray[np.int64]:
        count = len(self.store)
        if not self._shuffle:
            return np.arange(count)
        order = permutation(count, self._seed, ORDER, epoch)
        if not self._bucketing:
            return order
        parts = []
        for pool, start in enumerate(range(0, count, POOL)):
            rows = order[start : start + POOL]
            rows = rows[np.argsort(self.store.lengths[rows], kind="stable")]
            groups = [rows[first : first + GROUP] for first in range(0, len(rows), GROUP)]
            mixed = permutation(len(groups), self._seed, ROWS, epoch, pool)
            parts += [groups[number] for number in mixed]
        return np.concatenate(parts)

    def indices(self, start: int, count: int) -> NDArray[np.int64]:
        """The rows at global indices `start` … `start + count`, across the ends of epochs."""
        per_epoch = len(self.store)
        epoch, first = divmod(start, per_epoch)
        found: list[NDArray[np.int64]] = []
        while count > 0:
            taken = self.order(epoch)[first : first + count]
            found.append(taken)
            epoch, first, count = epoch + 1, 0, count - len(taken)
        return np.concatenate(found)

    def batch(self, start: int, count: int) -> dict[str, NDArray[Any]]:
        """See `ExampleStore.rows`; as wide as the longest row, rounded up to a multiple of 8."""
        indices = self.indices(start, count)
        longest = int(self.store.lengths[indices].max())
        width = min(-(-longest // MULTIPLE) * MULTIPLE, max(self.length, longest))
        return self.store.rows(indices, width)

    def report(self, batch_size: int = 32) -> dict[str, Any]:
        """The first epoch: `rows`, `tokens`, `padding` and `efficiency` in batches of `batch_size`,
        `unsorted_efficiency` of the same batches without bucketing, `cropped` (always 0: see `truncated`)."""
        tokens = self.store.num_tokens
        places = self._places(self.order(0), batch_size)
        plain = self._places(permutation(len(self.store), self._seed, ORDER, 0), batch_size)
        return {
            "rows": len(self.store),
            "tokens": tokens,
            "padding": places - tokens,
            "efficiency": round(tokens / max(places, 1), 6),
            "unsorted_efficiency": round(tokens / max(plain, 1), 6),
            "truncated": self.store.truncated,
            "cropped": 0,
        }

    def _places(self, order: NDArray[np.int64], batch_size: int) -> int:
        lengths = self.store.lengths[order]
        total = 0
        for start in range(0, len(order), batch_size):
            part = lengths[start : start + batch_size]
            total += len(part) * -(-int(part.max()) // MULTIPLE) * MULTIPLE
        return total
