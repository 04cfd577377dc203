"""What generation keeps of a sequence: keys and values (Pope et al. 2022, section 2), or sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.models.estimate.shape import Shape

CacheDtype = Literal["bf16", "fp32", "int8", "int4"]
GROUP, SCALE = 32, 2
"""Numbers that share a step in int4, and bytes of a step: those of the engine, which cannot be read from it
without torch (a test compares them)."""
SUM = 4
"""Bytes of a number of the sums of linear attention, whatever the rest is kept in."""


@dataclass(frozen=True)
class KeyValueCache:
    """Bytes for each token of context of one sequence.

    `own` of the layers that read what they generate and see all of it: 2 · layers · key/value heads · bytes
    of a vector; `windowed` of the layers with a window, which keep at most `window` tokens; `fixed` of sums,
    which do not grow; `cross` of the source, which a decoder behind an encoder keeps as well. An encoder has
    none of them.
    """

    own: int
    cross: int
    windowed: int = 0
    window: int = 0
    fixed: int = 0

    @property
    def is_none(self) -> bool:
        """Whether nothing is kept."""
        return not (self.own or self.windowed or self.fixed)

    @property
    def grows(self) -> bool:
        """Whether each further token takes more."""
        return bool(self.own)

    def bytes(self, context: int, source: int = 0) -> int:
        """Of `context` generated or read tokens, behind a source of `source` tokens."""
        return (
            self.own * context + self.windowed * min(context, self.window) + self.fixed + self.cross * source
        )


def vector_bytes(size: int, dtype: CacheDtype) -> int:
    """Bytes of a vector of `size` numbers: with its scale in int8, with a step and a least number for every
    `GROUP` in int4."""
    if dtype == "int8":
        return size + SCALE
    if dtype == "int4":
        groups = size // GROUP if size % GROUP == 0 else 1
        return size // 2 + 2 * SCALE * groups
    return size * (4 if dtype == "fp32" else 2)


def key_value_cache(shape: Shape, dtype: CacheDtype = "bf16") -> KeyValueCache:
    """The cache of a model whose keys and values are kept so."""
    stack = shape.decoder or shape.main
    each = 2 * stack.key_value_heads * vector_bytes(stack.head_size, dtype)
    if shape.decoder is not None:
        return KeyValueCache(each * stack.layers, each * stack.layers)
    if shape.family != "llama":
        return KeyValueCache(0, 0)
    attention = shape.attention
    if attention.is_linear:
        size = stack.head_size
        return KeyValueCache(0, 0, fixed=SUM * stack.layers * stack.key_value_heads * size * (size + 1))
    whole = stack.layers if attention.stride else attention.global_layers(stack.layers)
    return KeyValueCache(
        each * whole,
        0,
        windowed=each * (stack.layers - whole),
        window=(attention.window or 0) + attention.global_tokens if whole < stack.layers else 0,
    )
