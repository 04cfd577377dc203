"""Decoding and reading prompts with a Llama-shaped decoder whose keys and values are kept.

`decode_step` reads one new token for each row of a batch, `prefill` many for one row. Both take the native
path where there is one, the definition in plain PyTorch elsewhere; `choose` says which, and why. With
SmolLM2-135M in bf16, decoding is bounded by reading the weights (one row) or by bf16 arithmetic (sixteen);
eager PyTorch reaches a third of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from workbench.ops.decode_native import native_decoder
from workbench.ops.decode_reference import decode_reference, prefill_reference
from workbench.ops.decoder import DecoderLayer, DecoderWeights, Row, Segment
from workbench.ops.native import has_matrix_unit

__all__ = [
    "Choice",
    "DecoderLayer",
    "DecoderWeights",
    "Row",
    "Segment",
    "choose",
    "decode_reference",
    "decode_step",
    "prefill",
    "prefill_reference",
]


@dataclass(frozen=True)
class Choice:
    """The path that steps take: native or the reference, and the reason in words.

    `prefill`: whether the native path reads prompts about as fast as PyTorch or faster. It does with AVX512
    (1.4 times in bf16, 0.95 in fp32), but not where the processor has instructions for whole matrices.
    """

    native: bool
    reason: str
    prefill: bool = False


def choose(weights: DecoderWeights) -> Choice:
    """Which path these weights take. The first call on a machine compiles the native one, for some 10 s."""
    decoder = native_decoder(weights)
    if isinstance(decoder, str):
        return Choice(False, decoder)
    is_fast = decoder.instructions.startswith("AVX512") and not has_matrix_unit()
    return Choice(True, decoder.instructions, prefill=is_fast)


def decode_step(
    weights: DecoderWeights,
    tokens: Tensor,
    rows: Sequence[Row],
    *,
    out: Tensor | None = None,
    threads: int | None = None,
) -> Tensor:
    """Logits [B, V] in fp32 after one more token [B] (int64) for each row.

    Writes the token's keys and values at position `length` of each row's last segment; the caller then adds
    one to that length. `out` [B, V] takes the logits: a fresh tensor of 16 × 49,152 costs 0.5 ms of page
    faults. `threads` (default: torch's) is for the native path. There a row's logits are the same to the
    last bit whatever the batch, the cut into segments and the threads.
    """
    decoder = native_decoder(weights)
    if isinstance(decoder, str):
        logits = decode_reference(weights, tokens, rows)
        return logits if out is None else out.copy_(logits)
    return decoder.decode(tokens, rows, out=out, threads=threads)


def prefill(
    weights: DecoderWeights,
    tokens: Tensor,
    row: Row,
    *,
    logits: Literal["last", "all", "none"] = "last",
    threads: int | None = None,
) -> Tensor:
    """Logits in fp32, [1, V] after the last of `tokens` [n] (int64), [n, V] after each, or none [0, V].

    Writes all keys and values from position `length` of the row's last segment on; the caller then adds n
    to that length. On the native path they and the logits are, to the last bit, those of n decode steps:
    a prompt may be read in parts of any size, and its beginning may come from a cache. Working memory grows
    with n times the length of the row (4 (hd + 2) bytes a head for each 64 positions): parts of 128 or 256
    are as fast as larger ones.
    """
    count = len(tokens)
    wanted = {"last": range(count)[-1:], "all": range(count), "none": range(0)}[logits]
    decoder = native_decoder(weights)
    if isinstance(decoder, str):
        return prefill_reference(weights, tokens, row, wanted)
    return decoder.prefill(tokens, row, wanted, threads=threads)
