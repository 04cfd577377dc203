"""What a decoder takes by the length of what it has read, beside the same with full attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from workbench.models.estimate.cache import CacheDtype, key_value_cache
from workbench.models.estimate.decoder_attention import decoder_attention
from workbench.models.estimate.matrices import matrices
from workbench.models.estimate.shape import Shape
from workbench.recipe.attention_kinds import AttentionShape

LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16_384)
WEIGHT_BYTES = 2
"""Of a weight in bf16."""


@dataclass(frozen=True)
class AtLength:
    """At `length` tokens: bytes that a sequence keeps; bytes that writing the next token reads, which is what
    bounds its time where few sequences run together; operations of a token in training on rows so long."""

    length: int
    kept: int
    read: int
    training: float


def with_full_attention(shape: Shape) -> Shape:
    """The same decoder, each token seeing all before it."""
    return replace(shape, attention=AttentionShape())


def at_lengths(shape: Shape, lengths: Sequence[int] = LENGTHS, dtype: CacheDtype = "bf16") -> list[AtLength]:
    """A decoder of this shape at each length; its weights read in bf16, its cache kept as `dtype`."""
    parts = matrices(shape)
    weights = sum(matrix.products for matrix in parts)
    cache = key_value_cache(shape, dtype)
    attention = shape.attention
    found = []
    for length in lengths:
        kept = cache.bytes(length)
        seen = kept
        if attention.stride and attention.window is not None:
            # All keys are kept, and some of them read.
            seen = round(kept * attention.seen(length - 1) / length)
        done, _ = decoder_attention(shape, 1, length)
        forward = 2.0 * weights + done / length
        found.append(AtLength(length, kept, WEIGHT_BYTES * weights + seen, 3 * forward))
    return found
