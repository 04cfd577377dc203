"""Soft prompts before what a model of transformers reads: blocks of its cache, or its encoder's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from workbench.errors import ModelError
from workbench.inference.engine.dense_cache import Block, DenseCache, cache_name, rounded
from workbench.inference.engine.placed_prefix import PlacedPrefix, too_long
from workbench.inference.loading.soft_prompt import CacheShape, SoftPrompt


@dataclass(frozen=True, eq=False)
class Before:
    """What stands before a decoder's tokens, or the vectors [n, D] before an encoder's."""

    block: Block | None = None
    source: torch.Tensor | None = None

    @property
    def bytes(self) -> int:
        """The memory it takes."""
        block = self.block.bytes if self.block is not None else 0
        return block + (self.source.nbytes if self.source is not None else 0)


Prefix = PlacedPrefix[Before]


def place(
    soft_prompt: SoftPrompt, model: Any, shape: CacheShape, most: int, *, is_shared: bool = False
) -> Prefix:
    """A soft prompt for a model that takes `most` tokens, virtual ones among them; with `is_shared` rows
    refer to it instead of copying it.

    Raises `ModelError` where it does not fit.
    """
    count = soft_prompt.length
    if count >= most:
        raise too_long(soft_prompt, most)
    like = model.get_input_embeddings().weight
    if soft_prompt.is_prefix:
        keys, values = soft_prompt.keys_values(shape, like)
        before = Before(Block(list(zip(keys, values, strict=True)), count))
    else:
        vectors = soft_prompt.embeddings(shape, like)
        is_source = model.config.is_encoder_decoder
        before = Before(source=vectors) if is_source else Before(_read(model, vectors))
    columns = count if before.block and not is_shared else 0
    return PlacedPrefix(count, soft_prompt.key, before.bytes, columns, before)


@torch.inference_mode()
def _read(model: Any, vectors: torch.Tensor) -> Block:
    """The keys and values of virtual tokens [n, D]: nothing before a prompt depends on it."""
    cache = DenseCache(1, rounded(len(vectors)))
    cache.window.rows = 1
    try:
        model(inputs_embeds=vectors[None], use_cache=True, **{cache_name(model): cache})
    except (RuntimeError, TypeError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"the soft prompt does not fit {type(model).__name__}: {first}") from error
    return cache.cut(0, 0, len(vectors))
