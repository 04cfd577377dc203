"""The runner that fits a model of transformers."""

from __future__ import annotations

from typing import Any

from workbench.inference.engine.dense_cache import Block
from workbench.inference.engine.dense_encoder_decoder import EncoderDecoderRunner
from workbench.inference.engine.transformers_runner import KEPT_BYTES, TransformersRunner


def dense_runner(
    model: Any, *, chunk: int | None = None, kept_bytes: int = KEPT_BYTES, prefix: Block | None = None
) -> TransformersRunner:
    """A runner for a decoder or an encoder–decoder, in evaluation mode on its device.

    `chunk` tokens of a decoder's prompt are read at a time (128 on a CPU, else 512), at most `kept_bytes`
    are kept for prompts to come, and `prefix` stands before every prompt. Raises `ModelError` for a model
    that keeps another state than keys and values, or whose cache does not give what it gives without.
    """
    if model.config.is_encoder_decoder:
        return EncoderDecoderRunner(model, kept_bytes=kept_bytes, prefix=prefix)
    return TransformersRunner(model, chunk=chunk, kept_bytes=kept_bytes, prefix=prefix)
