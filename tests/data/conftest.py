"""Short ways to prepare data and to make stores of known tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workbench.data import Prepared, TokenStore, prepare
from workbench.data.token_store import Side, TokenWriter
from workbench.recipe import DataSection

PrepareData = Callable[..., Prepared]
MakeStore = Callable[..., TokenStore]


@pytest.fixture
def prepare_data(tmp_path: Path) -> PrepareData:
    """`prepare_data(sources=…, …)` with a cache of this test's own; returns what `prepare` does."""

    def call(*, vocab_size: int = 300, seed: int = 0, progress: Any = None, **fields: Any) -> Prepared:
        named = {
            key: fields.pop(key, None) for key in ("tokenizer_name_or_path", "model_name_or_path", "revision")
        }
        return prepare(
            DataSection(**fields),
            **named,
            trust_remote_code=False,
            vocab_size=vocab_size,
            seed=seed,
            cache=tmp_path / "cache",
            progress=progress or (lambda what, done, total: None),
        )

    return call


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    """`make_store([[1, 2], [3]], sources=[0, 1], weights=[1, 2])` writes a store and opens it."""
    count = 0

    def call(
        documents: Sequence[Sequence[int]],
        *,
        sources: Sequence[int] | None = None,
        weights: Sequence[float] = (1.0,),
        side: Side = "train",
    ) -> TokenStore:
        nonlocal count
        count += 1
        folder = tmp_path / f"store-{count}"
        with TokenWriter(folder, np.dtype(np.uint16)) as writer:
            for index, ids in enumerate(documents):
                writer.add(list(ids), sources[index] if sources else 0, len(ids))
        return TokenStore(folder, side, "uint16", weights)

    return call
