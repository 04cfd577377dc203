"""Text that a model was not trained on, as tokens: what its run held out, or what is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench import paths
from workbench.data import prepare
from workbench.data.ticker import Progress
from workbench.data.token_store import TokenStore
from workbench.errors import DataError
from workbench.recipe import DataSection, Recipe, validate
from workbench.training.prepare import prepare_recipe

FILLER_TOKENS = 200_000
"""Of running text to hide pass keys in: more than any prompt, and drawn from anew for each."""


def held_out(request: Mapping[str, Any], tokenizer: Any, progress: Progress) -> tuple[TokenStore, str]:
    """The documents, and where they are from in words.

    `sources` are read whole; without them, the held-out side of `recipe`, which is that of the model's run.
    Raises `DataError` where there are none.
    """
    if request["sources"]:
        data = DataSection.model_validate({"sources": request["sources"], "eval_fraction": 0.0})
        prepared = prepare(
            data,
            tokenizer_name_or_path=tokenizer.name_or_path,
            model_name_or_path=None,
            revision=None,
            trust_remote_code=False,
            vocab_size=len(tokenizer),
            seed=request["seed"],
            cache=paths.cache_dir(),
            progress=progress,
        )
        return prepared.train, ", ".join(source.path for source in data.sources)
    recipe = validate(request["recipe"], request["where"])
    _check(recipe, request["where"])
    found = prepare_recipe(recipe, recipe.data.max_length or recipe.model.context, progress)
    store: Any = found.eval
    if not store.num_documents:
        raise DataError(
            "the run held no text out", where=request["where"], hint="name some: --data FILE, --data stdlib:"
        )
    return store, "what the run held out"


def _check(recipe: Recipe, where: str) -> None:
    if recipe.objective.reads_records:
        raise DataError(
            f"the run learnt from records ({recipe.objective.name}), which are short",
            where=where,
            hint="name long text: --data FILE, --data stdlib:",
        )


def filler_of(store: TokenStore, seed: int) -> NDArray[np.int64]:
    """Running text of the documents, one behind the other in an order that the seed draws."""
    found, size = [], 0
    for index in np.random.default_rng(seed).permutation(store.num_documents):
        found.append(np.asarray(store.document(int(index)), np.int64))
        size += len(found[-1])
        if size >= FILLER_TOKENS:
            break
    return np.concatenate(found) if found else np.empty(0, np.int64)
