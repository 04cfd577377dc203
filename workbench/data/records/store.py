"""Labelled examples as arrays: tokens one behind the other, and what is to be predicted."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_TARGET = -100


@dataclass
class ExampleStore:
    """Rows of one side of the split. Of spans, a record may have several, its windows.

    `input_ids` [tokens], row i is `input_ids[offsets[i]:offsets[i + 1]]`, framed; `token_type_ids` [tokens]
    or None; `token_labels` [tokens] (tagging: the tag at the first piece of each word, else NO_TARGET);
    `labels` [rows] (classification: number of the label; regression: the number); `spans` [rows, 2], first
    and last token of the answer, 0 where the window holds none; `characters` [tokens, 2], where in the
    context a token stands, −1 outside it; `examples` [rows], the record that a row is of, and `records`
    themselves; `sources` [rows], the entry of the recipe it is from, whose weight is in `weights`;
    `truncated` records lost their end, together `cut_words` words of them (tagging); `unanswered` ones lost
    all that was to be predicted, and have no row.

    All in memory: a labelled set is small beside a corpus. About 6 bytes a token, and the records as they
    are, some 300 bytes each and their text.
    """

    side: str
    label_names: tuple[str, ...]
    input_ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    examples: NDArray[np.int64]
    records: list[dict[str, Any]]
    token_type_ids: NDArray[np.int8] | None = None
    token_labels: NDArray[np.int64] | None = None
    values: NDArray[np.float64] | None = None
    spans: NDArray[np.int64] | None = None
    characters: NDArray[np.int32] | None = None
    pad_token_id: int = 0
    max_length: int = 0
    truncated: int = 0
    cut_words: int = 0
    unanswered: int = 0
    sources: NDArray[np.uint16] | None = None
    weights: tuple[float, ...] = (1.0,)
    left_padded: bool = False
    pad_type_id: int = 0
    _lengths: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self._lengths = np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the labels, in the order of their numbers."""
        return self.label_names

    @property
    def num_tokens(self) -> int:
        """Tokens, frames included."""
        return len(self.input_ids)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row [rows]."""
        return self._lengths

    def digest(self) -> str:
        """Stands for everything a model learns from here."""
        found = blake2b(digest_size=16)
        for array in (self.input_ids, self.offsets, self.token_labels, self.values, self.spans):
            found.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def source_digest(self) -> str:
        """Stands for which row is from which source: with weights, it decides how often it is seen."""
        return blake2b(b"" if self.sources is None else self.sources.tobytes(), digest_size=16).hexdigest()

    def rows(self, indices: NDArray[np.int64], width: int) -> dict[str, NDArray[Any]]:
        """Some rows, padded to `width`: `input_ids`, `attention_mask`, `token_type_ids` where there are
        some, what is to be predicted, and `examples`."""
        shape = (len(indices), width)
        batch: dict[str, NDArray[Any]] = {
            "input_ids": np.full(shape, self.pad_token_id, np.int64),
            "attention_mask": np.zeros(shape, np.int64),
        }
        if self.token_type_ids is not None:
            batch["token_type_ids"] = np.full(shape, self.pad_type_id, np.int64)
        if self.token_labels is not None:
            batch["labels"] = np.full(shape, NO_TARGET, np.int64)
        shifts = np.zeros(len(indices), np.int64)
        for place, index in enumerate(indices.tolist()):
            tokens = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
            size = tokens.stop - tokens.start
            shifts[place] = width - size if self.left_padded else 0
            here = slice(int(shifts[place]), int(shifts[place]) + size)
            batch["input_ids"][place, here] = self.input_ids[tokens]
            batch["attention_mask"][place, here] = 1
            if self.token_type_ids is not None:
                batch["token_type_ids"][place, here] = self.token_type_ids[tokens]
            if self.token_labels is not None:
                batch["labels"][place, here] = self.token_labels[tokens]
        if self.values is not None:
            values = self.values[indices]
            batch["labels"] = values.astype(np.int64) if self.label_names else values
        if self.spans is not None:
            batch["start_positions"] = self.spans[indices, 0] + shifts
            batch["end_positions"] = self.spans[indices, 1] + shifts
        batch["examples"] = self.examples[indices]
        return batch

    def characters_of(self, index: int) -> NDArray[np.int32]:
        """Where in the context each token of a row stands [length, 2], −1 outside it."""
        assert self.characters is not None
        return self.characters[self.offsets[index] : self.offsets[index + 1]]
