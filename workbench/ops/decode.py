"""One decode step of a Llama-shaped decoder: one new token for each row of a batch.

`decode_step` takes the native path where there is one, the definition in plain PyTorch elsewhere;
`choose` says which, and why. On SmolLM2-135M in bf16 a step is bounded by reading the weights (one row)
or by bf16 arithmetic (sixteen); eager PyTorch reaches a third of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from workbench.ops.decode_native import native_decoder
from workbench.ops.decode_reference import decode_reference
from workbench.ops.decoder import DecoderLayer, DecoderWeights, Row, Segment

__all__ = [
    "Choice",
    "DecoderLayer",
    "DecoderWeights",
    "Row",
    "Segment",
    "choose",
    "decode_reference",
    "decode_step",
]


@dataclass(frozen=True)
class Choice:
    """The path that `decode_step` takes: native or the reference, and the reason in words."""

    native: bool
    reason: str


def choose(weights: DecoderWeights) -> Choice:
    """Which path these weights take. Compiles the native one on the first call of a machine (some 10 s)."""
    decoder = native_decoder(weights)
    if isinstance(decoder, str):
        return Choice(False, decoder)
    return Choice(True, decoder.instructions)


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
    return decoder.step(tokens, rows, out=out, threads=threads)
