"""Conversations, and prompts with completions, as rows of causal language modelling."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.data.epochs import ROWS, permutation
from workbench.data.records import TaskRows
from workbench.data.records.bins import best_fit
from workbench.data.records.store import NO_TARGET
from workbench.objectives.base import Batch

PACKED = 1 << 20
"""What the order of packed rows is drawn for, so that it is like no other."""


@dataclass(frozen=True)
class AnswerRows:
    """One record a row, padded on the right; batches are as wide as their longest row.

    `everything`: all tokens are predicted, and not only those that the store says.
    """

    rows: TaskRows
    everything: bool = False

    @property
    def length(self) -> int:
        """Tokens in a row, at most."""
        return self.rows.length

    def rows_per_epoch(self, epoch: int) -> int:
        """How many rows an epoch has."""
        return self.rows.rows_per_epoch(epoch)

    def batch(self, start: int, count: int) -> Batch:
        """`input_ids`, `position_ids` and `targets`, each [count, length]."""
        raw = self.rows.batch(start, count)
        ids, mask = raw["input_ids"], raw["attention_mask"]
        labels = np.where(mask > 0, ids, NO_TARGET) if self.everything else raw["labels"]
        targets = np.full_like(ids, NO_TARGET)
        targets[:, :-1] = labels[:, 1:]
        positions = np.broadcast_to(np.arange(ids.shape[1], dtype=np.int64), ids.shape).copy()
        return _batch(ids, positions, targets, np.where(mask > 0, 0, -1))

    def report(self) -> dict[str, Any]:
        """See `TaskRows.report`."""
        return self.rows.report()


@dataclass
class PackedAnswerRows:
    """Several records a row, by best fit, none cut; positions start at 0 in each.

    Which records share a row is drawn anew in each epoch, and so is the order of the rows.
    """

    rows: TaskRows
    seed: int
    shuffle: bool
    everything: bool = False
    _epochs: dict[int, list[NDArray[np.int64]]] = field(default_factory=dict, init=False)
    _firsts: list[int] = field(default_factory=lambda: [0], init=False)

    @property
    def length(self) -> int:
        """Tokens in a row."""
        return self.rows.length

    def rows_per_epoch(self, epoch: int) -> int:
        """How many rows an epoch has: the same for all unless a weight is fractional."""
        return len(self._epoch(epoch))

    def batch(self, start: int, count: int) -> Batch:
        """`input_ids`, `position_ids` and `targets`, each [count, length]."""
        store, shape = self.rows.store, (count, self.length)
        ids, targets = np.full(shape, store.pad_token_id, np.int64), np.full(shape, NO_TARGET, np.int64)
        positions, documents = np.zeros(shape, np.int64), np.full(shape, -1, np.int64)
        labels = store.input_ids if self.everything else store.token_labels
        assert labels is not None
        for row, members in enumerate(self._members(start, count)):
            place = 0
            for number, index in enumerate(members.tolist()):
                tokens = slice(int(store.offsets[index]), int(store.offsets[index + 1]))
                size = tokens.stop - tokens.start
                here = slice(place, place + size)
                ids[row, here] = store.input_ids[tokens]
                targets[row, place : place + size - 1] = labels[tokens][1:]
                positions[row, here] = np.arange(size)
                documents[row, here] = number
                place += size
        return _batch(ids, positions, targets, documents)

    def report(self) -> dict[str, Any]:
        """The first epoch: see `TaskRows.report`."""
        bins, store = self._epoch(0), self.rows.store
        tokens = int(sum(store.lengths[members].sum() for members in bins))
        places = len(bins) * self.length
        return {
            "rows": len(bins),
            "tokens": tokens,
            "padding": places - tokens,
            "efficiency": round(tokens / max(places, 1), 6),
            "truncated": store.truncated,
            "cropped": 0,
        }

    def members_of(self, row: int) -> list[int]:
        """The rows of the store that share the row at a global index."""
        return [int(index) for index in self._members(row, 1)[0]]

    def leave_out(self, first: int, end: int, epoch: int) -> bool:
        """See `RowOrder.leave_out`: the records that share these rows are left out."""
        members = np.concatenate(self._members(first, end - first))
        if not self.rows.leave_out_rows(members.tolist(), epoch):
            return False
        for later in [known for known in self._epochs if known >= epoch]:
            del self._epochs[later]
        del self._firsts[epoch + 1 :]
        return True

    def epoch_of(self, index: int) -> int:
        """The epoch of the row at a global index."""
        self._members(index, 1)
        return bisect_right(self._firsts, index) - 1

    def _members(self, start: int, count: int) -> list[NDArray[np.int64]]:
        """The records of the rows at global indices `start` … `start + count`, across the ends of epochs."""
        while self._firsts[-1] <= start:
            self._firsts.append(self._firsts[-1] + self.rows_per_epoch(len(self._firsts) - 1))
        epoch = bisect_right(self._firsts, start) - 1
        first, found = start - self._firsts[epoch], list[NDArray[np.int64]]()
        while len(found) < count:
            found += self._epoch(epoch)[first : first + count - len(found)]
            epoch, first = epoch + 1, 0
        return found

    def _epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        if epoch not in self._epochs:
            order = self.rows.order(epoch)
            bins = [
                order[np.sort(members)] for members in best_fit(self.rows.store.lengths[order], self.length)
            ]
            if self.shuffle:
                bins = [bins[n] for n in permutation(len(bins), self.seed, ROWS, PACKED + epoch)]
            while len(self._epochs) > 1:  # a batch may lie across the end of one
                self._epochs.pop(min(self._epochs))
            self._epochs[epoch] = bins
        return self._epochs[epoch]


def _batch(
    ids: NDArray[np.int64],
    positions: NDArray[np.int64],
    targets: NDArray[np.int64],
    documents: NDArray[np.int64],
) -> Batch:
    arrays = {"input_ids": ids, "position_ids": positions, "targets": targets}
    count, tokens = int((targets != NO_TARGET).sum()), int((documents >= 0).sum())
    return Batch(arrays, (count,), tokens, {"document_ids": documents})
