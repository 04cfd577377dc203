"""Prompts with all their ranked answers, as batches of a reward model.

Letters: P prompts of a batch, K answers of one at most, A answers of all, T tokens of the longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.data.records import PreferenceStore, RowOrder
from workbench.data.records.rows import MULTIPLE
from workbench.models.shared_prompt.plan import plan_arrays
from workbench.objectives.base import Batch
from workbench.objectives.preference.pair_rows import RowForm

EXTRA = ("places", "ranks", "present", "margins")
"""The arrays of a batch that the model does not read."""


@dataclass(frozen=True)
class RankedRows:
    """One prompt with its k answers a row: k sequences, prompt and answer, padded on the right, or where the
    `form` says so all prompts and answers of a batch in one flat row, each prompt once."""

    rows: RowOrder[PreferenceStore]
    pad_token_id: int
    batch_size: int
    form: RowForm

    @property
    def store(self) -> PreferenceStore:
        """What the rows are of."""
        return self.rows.store

    @property
    def length(self) -> int:
        """Tokens of a prompt with one answer, at most."""
        return self.rows.length

    def rows_per_epoch(self, epoch: int) -> int:
        """How many prompts an epoch has."""
        return self.rows.rows_per_epoch(epoch)

    def batch(self, start: int, count: int) -> Batch:
        """`input_ids` and `attention_mask` [A, T]; `places` [P, K], which of the A an answer is, `ranks`
        [P, K], `present` [P, K], which answers there are, and `margins` [P].

        Of a flat row `input_ids` [1, N], `ends` [A], where in it an answer ends, and a plan of which of its
        places see which. A loss has one target for each prompt.
        """
        store, elements = self.store, self.rows.indices(start, count).tolist()
        answers = [list(store.answers_of(element)) for element in elements]
        shape = (count, max(map(len, answers)))
        places, ranks = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        present = np.zeros(shape, np.bool_)
        size_of, done = store.answer_lengths, 0
        for row, numbers in enumerate(answers):
            size = len(numbers)
            places[row, :size] = np.arange(done, done + size)
            ranks[row, :size] = store.ranks[numbers]
            present[row, :size] = True
            done += size
        ranked = {"places": places, "ranks": ranks, "present": present, "margins": store.margins[elements]}
        extra: dict[str, Any] = {"elements": elements, "store": store}
        if not self.form.is_shared:
            ids, mask = padded(
                [
                    np.concatenate([store.prompt(element), store.answer(number)[0]])
                    for element, numbers in zip(elements, answers, strict=True)
                    for number in numbers
                ],
                self.pad_token_id,
            )
            arrays = {"input_ids": ids, "attention_mask": mask, **ranked}
            return Batch(arrays, (count,), int(mask.sum()), extra)
        prompts = [store.prompt(element) for element in elements]
        plan, extra["layout"] = plan_arrays(
            [len(prompt) for prompt in prompts], [size_of[numbers].tolist() for numbers in answers]
        )
        pieces, ends, place = list[NDArray[np.int32]](), list[int](), 0
        for prompt, numbers in zip(prompts, answers, strict=True):
            pieces += [prompt, *(store.answer(number)[0] for number in numbers)]
            sizes = size_of[numbers]
            ends += (place + len(prompt) + np.cumsum(sizes) - 1).tolist()
            place += len(prompt) + int(sizes.sum())
        arrays = {"input_ids": np.concatenate(pieces)[None], "ends": np.array(ends), **plan, **ranked}
        return Batch(arrays, (count,), place, extra)

    def report(self) -> dict[str, Any]:
        """The first epoch: `rows` (prompts), `tokens` of all sequences (each prompt once where the rows are
        flat), `padding` and
        `efficiency` in batches of the recipe's size, `pairs` compared, `truncated` and `cropped` (0)."""
        order, store = self.rows.order(0), self.store
        tokens = places = 0
        if self.form.is_shared:
            numbers = [number for element in order.tolist() for number in store.answers_of(element)]
            tokens = places = int(store.prompt_lengths[order].sum() + store.answer_lengths[numbers].sum())
            order = order[:0]
        for start in range(0, len(order), self.batch_size):
            lengths = [
                int(store.prompt_lengths[element] + store.answer_lengths[answer])
                for element in order[start : start + self.batch_size].tolist()
                for answer in store.answers_of(element)
            ]
            tokens += sum(lengths)
            places += len(lengths) * wide(max(lengths))
        return {
            "rows": self.rows_per_epoch(0),
            "tokens": tokens,
            "padding": places - tokens,
            "efficiency": round(tokens / max(places, 1), 6),
            "pairs": len(store.pairs),
            "truncated": store.truncated,
            "cropped": 0,
        }


def padded(
    sequences: Sequence[NDArray[np.int32] | Sequence[int]], pad: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sequences as `input_ids` and `attention_mask` [A, T], padded on the right to a multiple of 8."""
    shape = (len(sequences), wide(max(map(len, sequences))))
    ids, mask = np.full(shape, pad, np.int64), np.zeros(shape, np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return ids, mask


def wide(length: int) -> int:
    """A length rounded up as batches are."""
    return -(-length // MULTIPLE) * MULTIPLE
