"""The runner that fits a model of transformers."""

from __future__ import annotations

from typing import Any

import torch

from workbench.errors import ModelError
from workbench.inference.engine.dense_cache import Block, DenseCache, cache_name, rounded
from workbench.inference.engine.dense_encoder_decoder import EncoderDecoderRunner
from workbench.inference.engine.transformers_runner import KEPT_BYTES, TransformersRunner
from workbench.inference.loading.soft_prompt import SoftPrompt


def dense_runner(
    model: Any,
    *,
    chunk: int | None = None,
    kept_bytes: int = KEPT_BYTES,
    max_length: int | None = None,
    soft_prompt: SoftPrompt | None = None,
) -> TransformersRunner:
    """A runner for a decoder or an encoder–decoder, in evaluation mode on its device.

    `chunk` tokens of a decoder's prompt are read at a time (128 on a CPU, else 512), at most `kept_bytes`
    are kept for prompts to come, a sequence holds at most `max_length` tokens, and `soft_prompt` stands
    before every prompt. Raises `ModelError` for a model that keeps another state than keys and values, whose
    cache does not give what it gives without, or that the soft prompt does not fit.
    """
    prefix = None
    if soft_prompt is not None and soft_prompt.keys_values is not None:
        prefix = Block([*soft_prompt.keys_values], soft_prompt.length)
    embeddings = soft_prompt.embeddings if soft_prompt is not None else None
    options: dict[str, Any] = {"kept_bytes": kept_bytes, "max_length": max_length}
    if model.config.is_encoder_decoder:
        return EncoderDecoderRunner(model, prefix=prefix, source_prefix=embeddings, **options)
    if embeddings is not None:
        prefix = _read_embeddings(model, embeddings)
    return TransformersRunner(model, chunk=chunk, prefix=prefix, **options)


@torch.inference_mode()
def _read_embeddings(model: Any, embeddings: torch.Tensor) -> Block:
    """The keys and values of virtual tokens [n, D]: nothing before a prompt depends on it."""
    cache = DenseCache(1, rounded(len(embeddings)))
    cache.window.rows = 1
    try:
        model(inputs_embeds=embeddings[None], use_cache=True, **{cache_name(model): cache})
    except (RuntimeError, TypeError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"the soft prompt does not fit {type(model).__name__}: {first}") from error
    return cache.cut(0, 0, len(embeddings))
