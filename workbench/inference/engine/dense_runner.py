"""The runner that fits a model of transformers."""

from __future__ import annotations

from typing import Any

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
    options: dict[str, Any] = {"kept_bytes": kept_bytes, "max_length": max_length, "soft_prompt": soft_prompt}
    if model.config.is_encoder_decoder:
        return EncoderDecoderRunner(model, **options)
    return TransformersRunner(model, chunk=chunk, **options)
