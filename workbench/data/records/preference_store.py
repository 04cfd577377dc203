"""Preferences as arrays: prompts, their answers token by token, and how these were ranked.

For objectives (`reward`, `dpo`): `prepare_records` gives a `PreferenceStore` for each side of the split. Its
elements are prompts, each with its k ≥ 2 answers, of which at least two were ranked apart. Answers are
numbered through the whole store:

    store.prompt(e)                    ids of the prompt of element e, up to where the answer begins
    store.answers_of(e)                the numbers of its answers, a range, in the order of the record
    store.answer(a)                    ids of answer a, and which of them the assistant says (bool): these
                                       are the completion's tokens, the last is the end of its turn
    store.ranks[a], store.margins[e]   1 is best; by how much the better should be better, 0 where not said
    store.pairs                        [N, 3]: element, better answer, worse answer; every untied pair

A row for a model is `[*prompt, *answer]`; tokens that a template writes behind the end of the last turn
are not there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]


@dataclass
class PreferenceStore:
    """One side of the split; see the module.

    `prompt_ids` [prompt tokens], element e at `prompt_offsets[e]:prompt_offsets[e + 1]`; `answer_ids` and
    `answer_mask` [answer tokens], answer a at `answer_offsets[a]:answer_offsets[a + 1]`; `firsts`
    [elements + 1]: element e has answers `firsts[e]` to `firsts[e + 1]`; `ranks` [answers]; `margins`
    [elements]; `examples` [elements], the record an element is of; `sources` [elements], the entry of the
    recipe it is from, whose weight is in `weights`.

    Counted are answers: `truncated` lost their end, `too_long` ones were left out, `empty` ones too,
    `repeated` ones stood there before, `stripped` ones lost blanks at their beginning; and elements left out
    because fewer than two answers, or only ties, remained: `unanswered`. About 5 bytes a token.
    """

    side: str
    records: list[dict[str, Any]]
    examples: NDArray[np.int64]
    prompt_ids: Ids
    prompt_offsets: NDArray[np.int64]
    answer_ids: Ids
    answer_mask: NDArray[np.bool_]
    answer_offsets: NDArray[np.int64]
    firsts: NDArray[np.int64]
    ranks: NDArray[np.int64]
    margins: NDArray[np.float32]
    pad_token_id: int = 0
    max_length: int = 0
    truncated: int = 0
    too_long: int = 0
    empty: int = 0
    repeated: int = 0
    stripped: int = 0
    unanswered: int = 0
    sources: NDArray[np.uint16] | None = None
    weights: tuple[float, ...] = (1.0,)
    cut_words: int = field(default=0, init=False)

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def num_answers(self) -> int:
        """Answers of all elements."""
        return len(self.ranks)

    @property
    def num_tokens(self) -> int:
        """Tokens of prompts and answers, each prompt counted once."""
        return len(self.prompt_ids) + len(self.answer_ids)

    @cached_property
    def prompt_lengths(self) -> NDArray[np.int64]:
        """Tokens of each prompt [elements]."""
        return np.diff(self.prompt_offsets)

    @cached_property
    def answer_lengths(self) -> NDArray[np.int64]:
        """Tokens of each answer [answers]."""
        return np.diff(self.answer_offsets)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each prompt with its longest answer [elements]."""
        if not len(self):
            return np.zeros(0, np.int64)
        return self.prompt_lengths + np.maximum.reduceat(self.answer_lengths, self.firsts[:-1])

    def prompt(self, element: int) -> Ids:
        """The tokens of a prompt."""
        return self.prompt_ids[self.prompt_offsets[element] : self.prompt_offsets[element + 1]]

    def answers_of(self, element: int) -> range:
        """The numbers of the answers to a prompt."""
        return range(int(self.firsts[element]), int(self.firsts[element + 1]))

    def answer(self, number: int) -> tuple[Ids, NDArray[np.bool_]]:
        """The tokens of an answer, and which of them the assistant says."""
        tokens = slice(int(self.answer_offsets[number]), int(self.answer_offsets[number + 1]))
        return self.answer_ids[tokens], self.answer_mask[tokens]

    @cached_property
    def pairs(self) -> NDArray[np.int64]:
        """Element, better and worse answer of every untied pair [pairs, 3], element by element."""
        found = [
            (element, better, worse)
            for element in range(len(self))
            for better in self.answers_of(element)
            for worse in self.answers_of(element)
            if self.ranks[better] < self.ranks[worse]
        ]
        return np.array(found, np.int64).reshape(-1, 3)

    def digest(self) -> str:
        """Stands for everything a model learns from here."""
        found = blake2b(digest_size=16)
        for array in (
            self.prompt_ids,
            self.prompt_offsets,
            self.answer_ids,
            self.answer_mask,
            self.answer_offsets,
            self.firsts,
            self.ranks,
            self.margins,
        ):
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def source_digest(self) -> str:
        """Stands for which element is from which source: with weights, it decides how often it is seen."""
        return blake2b(b"" if self.sources is None else self.sources.tobytes(), digest_size=16).hexdigest()

    def report(self) -> dict[str, Any]:
        """`prompts`, `answers`, `pairs`, `ties` (pairs of equal rank), `answers_per_prompt` (how many
        prompts have so many), `longer_is_better` (the share of untied pairs whose better answer has more
        tokens, equal lengths half; None without pairs), and what is counted of answers."""
        counts = np.diff(self.firsts)
        every = int((counts * (counts - 1) // 2).sum())
        longer: float | None = None
        if len(self.pairs):
            lengths = self.answer_lengths
            signs = np.sign(lengths[self.pairs[:, 1]] - lengths[self.pairs[:, 2]])
            longer = float((signs + 1).mean() / 2)
        sizes, times = np.unique(counts, return_counts=True)
        return {
            "prompts": len(self),
            "answers": self.num_answers,
            "pairs": len(self.pairs),
            "ties": every - len(self.pairs),
            "answers_per_prompt": dict(zip(map(str, sizes.tolist()), times.tolist(), strict=True)),
            "longer_is_better": longer,
            "truncated": self.truncated,
            "too_long": self.too_long,
            "empty": self.empty,
            "repeated": self.repeated,
            "stripped": self.stripped,
            "unanswered": self.unanswered,
        }
