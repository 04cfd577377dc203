"""Where a CPU trains Llama-shaped models by operators with backward passes of their own: layers that keep
little (`workbench.models.fused_layers`), and heads whose logits are made a few rows at a time
(`workbench.ops.decoder_training`)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.models.estimate.load import Load, load_of
from workbench.models.estimate.shape import Shape
from workbench.ops import native

if TYPE_CHECKING:
    from workbench.recipe import Recipe

LEAST_SIZE, WIDTH_STEP, SIZE_STEP, MOST_SIZE = 128, 16, 16, 256
LEAST_VOCABULARY, CHUNK, LEAST_ROWS = 4096, 128 << 20, 256
"""What the operators take, and how many bytes of logits they make at a time: their own numbers, which cannot
be read from them without torch (a test compares them)."""


@dataclass(frozen=True)
class Fused:
    """Which parts of a model are computed so."""

    layers: bool = False
    head: bool = False


PLAIN = Fused()
"""Nothing is: as on GPUs, and under adapters."""


def fused_on_cpu(recipe: Recipe, shape: Shape) -> Fused:
    """As `fuse_layers` and `head.why_not` would decide on this machine, but for what only the model says."""
    if shape.family != "llama" or recipe.training.torch_compile or not _has_native_code():
        return PLAIN
    method, stack = recipe.tuning.method, shape.main
    layers = (
        method in ("full", "prompt", "frozen")
        and stack.hidden >= LEAST_SIZE
        and not any(width % WIDTH_STEP for width in (stack.hidden, stack.queries, stack.feed_forward))
        and not stack.head_size % SIZE_STEP
        and stack.head_size <= MOST_SIZE
        and not (shape.attention_bias or shape.feed_forward_bias or shape.qk_norm)
        and _sees_all(recipe, shape)
        and recipe.model.attn_implementation == "sdpa"
        and (not recipe.model.dropout or recipe.objective.is_without_dropout)
    )
    head = (
        method == "full"
        and recipe.objective.name in ("clm", "sft", "dpo")
        and shape.vocabulary >= LEAST_VOCABULARY
    )
    return Fused(layers, head)


def _sees_all(recipe: Recipe, shape: Shape) -> bool:
    """Whether no layer leaves out anything of a row."""
    attention = shape.attention
    return not attention.is_linear and (
        attention.window is None or attention.window >= load_of(recipe, shape).length
    )


def logits_at_once(shape: Shape, load: Load, width: int) -> int:
    """Places whose logits exist at the same time, of `width` bytes each."""
    most = max(LEAST_ROWS, CHUNK // (shape.vocabulary * width))
    return -(-load.tokens // max(1, -(-load.tokens // most)))


def _has_native_code() -> bool:
    try:
        return os.environ.get(native.SWITCH) != "0" and bool(native.compiler())
    except native.NativeCodeError:
        return False
