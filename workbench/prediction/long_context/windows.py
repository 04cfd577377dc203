"""Long stretches of held-out text as tokens: windows of one length, and of which documents they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError

TEXT_WINDOWS = 4
"""A text that a window slides over is at most so many windows long."""


@dataclass(frozen=True)
class Windows:
    """Rows [N, T] of tokens and the document of each [N]; `texts` are longer stretches of the same documents
    (`texts_of`), for windows that slide; `joined` says that documents were strung together to be long
    enough."""

    rows: NDArray[np.int64]
    documents: NDArray[np.int64]
    texts: list[NDArray[np.int64]] = field(default_factory=list)
    texts_of: list[int] = field(default_factory=list)
    joined: bool = False

    @property
    def count(self) -> int:
        """How many documents there are."""
        return len(np.unique(self.documents))


def windows_of(store: Any, length: int, most: int, seed: int, *, join: bool = False) -> Windows:
    """At most `most` windows of `length` tokens of the documents of a `TokenStore`: the first of each
    document, in an order that the seed draws, then the second of each, and so on.

    With `join`, documents are strung together where they are too short. Raises `DataError` where there is no
    window.
    """
    order = np.random.default_rng(seed).permutation(store.num_documents)
    texts = [np.asarray(store.document(int(index)), np.int64) for index in order]
    numbers = [int(index) for index in order]
    joined = join and sum(len(text) >= length for text in texts) < most
    if joined:
        texts, numbers = _joined(texts, length)
    places = [
        (start, place)
        for place, text in enumerate(texts)
        for start in range(0, len(text) - length + 1, length)
    ]
    if not places:
        longest = max((len(text) for text in texts), default=0)
        raise DataError(
            f"no document has {length:,} tokens: the longest of {store.num_documents:,} has {longest:,}",
            hint="name longer text with --data, take shorter --lengths, or --join documents",
        )
    chosen = sorted(places, key=lambda place: place[0])[:most]
    rows = np.stack([texts[place][start : start + length] for start, place in chosen])
    used = list(dict.fromkeys(place for _, place in chosen))
    return Windows(
        rows,
        np.array([numbers[place] for _, place in chosen]),
        [texts[place][: TEXT_WINDOWS * length] for place in used],
        [numbers[place] for place in used],
        joined,
    )


def _joined(texts: list[NDArray[np.int64]], length: int) -> tuple[list[NDArray[np.int64]], list[int]]:
    """Documents strung together until each is `length` tokens long; the rest of the last is left out."""
    found, open_parts, size = [], [], 0
    for text in texts:
        open_parts.append(text)
        size += len(text)
        if size >= length:
            found.append(np.concatenate(open_parts))
            open_parts, size = [], 0
    return found, list(range(len(found)))
