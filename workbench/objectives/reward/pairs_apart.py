"""Rankings taken apart into pairs, to compare with rankings kept together."""

from __future__ import annotations

import numpy as np

from workbench.data.records import PreferenceStore


def pairs_apart(store: PreferenceStore) -> PreferenceStore:
    """A store in which every untied pair is an element of its own, with its prompt and two answers."""
    elements, numbers = store.pairs[:, 0], store.pairs[:, 1:].reshape(-1)
    prompts = [store.prompt(element) for element in elements.tolist()]
    answers = [store.answer(number) for number in numbers.tolist()]
    return PreferenceStore(
        store.side,
        store.records,
        store.examples[elements],
        np.concatenate(prompts),
        _offsets([len(prompt) for prompt in prompts]),
        np.concatenate([ids for ids, _ in answers]),
        np.concatenate([mask for _, mask in answers]),
        _offsets([len(ids) for ids, _ in answers]),
        np.arange(0, len(numbers) + 1, 2, dtype=np.int64),
        np.tile(np.array([1, 2], np.int64), len(elements)),
        store.margins[elements],
        pad_token_id=store.pad_token_id,
        max_length=store.max_length,
        sources=None if store.sources is None else store.sources[elements],
        weights=store.weights,
    )


def _offsets(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
