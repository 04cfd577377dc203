"""What a decode step works on: the weights of a Llama-shaped decoder, and the keys and values of rows.

Shapes: V vocabulary, D hidden size, H query heads, KV key/value heads of size hd, F intermediate size,
T positions, L layers, n positions of a segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, dtype


@dataclass(eq=False)
class DecoderLayer:
    """The weights of one layer; matrices are [out, in], row-major. `q_norm` and `k_norm` are Qwen3's."""

    input_norm: Tensor  # [D]
    qkv: Tensor  # [(H + 2 KV) hd, D]
    output: Tensor  # [D, H hd]
    post_norm: Tensor  # [D]
    gate_up: Tensor  # [2 F, D]
    down: Tensor  # [D, F]
    qkv_bias: Tensor | None = None  # [(H + 2 KV) hd]
    output_bias: Tensor | None = None  # [D]
    q_norm: Tensor | None = None  # [hd]
    k_norm: Tensor | None = None  # [hd]


@dataclass(eq=False)
class DecoderWeights:
    """A decoder with RMS norms, rotary positions (halves rotated, as in Llama) and a gated SiLU MLP.

    `cos` and `sin` are fp32 and hold whatever scaling the rotary positions have; `scaling` multiplies
    the attention scores. All other tensors are of `dtype`. The tensors must not change afterwards.
    """

    embedding: Tensor  # [V, D]
    layers: Sequence[DecoderLayer]
    norm: Tensor  # [D]
    head: Tensor  # [V, D]; may be the embedding itself
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    cos: Tensor  # [T, hd]
    sin: Tensor  # [T, hd]
    scaling: float
    dtype: dtype


@dataclass(eq=False, slots=True)
class Segment:
    """Keys and values of consecutive positions, [L, KV, n, hd] with n ≥ `length`; heads and positions may
    lie apart in memory, the numbers of one head lie together. The tensors must stay where they are."""

    keys: Tensor
    values: Tensor
    length: int
    # Of both tensors, read once: asking torch takes 4 µs, which every step would pay for every segment.
    address: tuple[int, ...] = field(
        init=False, repr=False
    )  # of keys, of values; strides of L, KV, n of each
    room: int = field(init=False, repr=False)  # n
    layout: tuple[int, int, int, dtype] = field(init=False, repr=False)  # L, KV, hd, type

    def __post_init__(self) -> None:
        keys, values = self.keys, self.values
        if keys.shape != values.shape or keys.dtype != values.dtype or keys.ndim != 4:
            raise ValueError("keys and values must be alike, [L, KV, n, hd]")
        if keys.stride(3) != 1 or values.stride(3) != 1:
            raise ValueError("the numbers of a head must lie together")
        self.address = (keys.data_ptr(), values.data_ptr(), *keys.stride()[:3], *values.stride()[:3])
        layers, kv_heads, self.room, head_dim = keys.shape
        self.layout = (layers, kv_heads, head_dim, keys.dtype)


@dataclass(eq=False, slots=True)
class Row:
    """One row's keys and values: segments one after another. All but the last may be shared with other
    rows and are only read; a decode step writes the new token at position `length` of the last one."""

    segments: list[Segment]

    @property
    def length(self) -> int:
        """Positions there are, which is the position of the next token."""
        return sum(segment.length for segment in self.segments)
