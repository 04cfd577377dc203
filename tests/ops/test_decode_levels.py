"""The native step as other processors compile it: the same answers from each level of instructions."""

from __future__ import annotations

import platform

import decoders
import pytest
import torch
from torch import Tensor

from workbench.ops.decode import DecoderWeights, Row, decode_step
from workbench.ops.decode_native import NativeDecoder
from workbench.ops.native import load_library

LEVELS: dict[str, tuple[str, ...]] = {
    "without bf16 dot products": ("-DWORKBENCH_NO_BF16_DOT",),
    "portable, this processor": ("-DWORKBENCH_PORTABLE",),
}
if platform.machine() == "x86_64":
    LEVELS["portable, any x86-64"] = ("-DWORKBENCH_PORTABLE", "-march=x86-64")


def batch(weights: DecoderWeights) -> tuple[Tensor, list[Row]]:
    """Five rows that share 70 positions; their lengths differ."""
    shared = decoders.segment(weights, 70, *decoders.random_cache(weights, 70))
    rows = []
    for row in range(5):
        own = decoders.random_cache(weights, 5 * row, seed=row)
        rows.append(Row([shared, decoders.segment(weights, 5 * row + 1, *own)]))
    return torch.arange(5) * 100, rows


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_a_level_agrees_with_the_best_and_with_itself(level: str) -> None:
    library = load_library("decode", *LEVELS[level])
    for family, head_dim, dtype, tolerance in (
        ("llama", 64, torch.float32, 1e-4),
        ("qwen2", 80, torch.float32, 1e-4),
        ("qwen3", 32, torch.float32, 1e-4),
        ("llama", 64, torch.bfloat16, 0.15),
        ("qwen3", 80, torch.bfloat16, 0.15),
    ):
        weights = decoders.weights_of(decoders.tiny_decoder(family, head_dim=head_dim, dtype=dtype))
        decoder = NativeDecoder(weights, library)
        tokens, rows = batch(weights)
        logits = decoder.decode(tokens, rows, threads=2)
        best = decode_step(weights, *batch(weights))
        torch.testing.assert_close(logits, best, rtol=0, atol=tolerance)
        for place in range(5):
            tokens, rows = batch(weights)
            alone = decoder.decode(tokens[place : place + 1], rows[place : place + 1], threads=1)
            assert torch.equal(alone[0], logits[place])
