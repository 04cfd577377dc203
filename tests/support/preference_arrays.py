"""Preferences as arrays, of made-up tokens and uneven lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.data.records import PreferenceStore

Answers = Sequence[tuple[int, int]]
"""Of each answer its length in tokens and its rank."""


def preference_store(
    elements: Sequence[tuple[int, Answers]], vocabulary: int = 200, *, side: str = "train", seed: int = 0
) -> PreferenceStore:
    """Prompts of so many tokens with such answers; all tokens of an answer count, but of every third one the
    first does not."""
    dice = np.random.default_rng(seed)
    prompts = [dice.integers(3, vocabulary, length) for length, _ in elements]
    answers = [dice.integers(3, vocabulary, length) for _, some in elements for length, _ in some]
    masks = [np.arange(len(answer)) >= (number % 3 == 2) for number, answer in enumerate(answers)]
    ranks = [rank for _, some in elements for _, rank in some]
    return PreferenceStore(
        side=side,
        records=[{"prompt": f"prompt {number}"} for number in range(len(elements))],
        examples=np.arange(len(elements)),
        prompt_ids=np.concatenate(prompts).astype(np.int32),
        prompt_offsets=_offsets(prompts),
        answer_ids=np.concatenate(answers).astype(np.int32),
        answer_mask=np.concatenate(masks),
        answer_offsets=_offsets(answers),
        firsts=np.cumsum([0, *(len(some) for _, some in elements)]),
        ranks=np.array(ranks),
        margins=np.zeros(len(elements), np.float32),
        max_length=64,
    )


def _offsets(parts: Sequence[Any]) -> Any:
    return np.cumsum([0, *(len(part) for part in parts)])
