"""The native step's promise: a row's logits are the same bits whatever else there is."""

from __future__ import annotations

import random

import decoders
import pytest
import torch
from torch import Tensor

from workbench.ops.decode import DecoderWeights, Row, Segment, decode_step

ROWS = 33
KINDS = [torch.float32, torch.bfloat16]


def prompts(weights: DecoderWeights) -> tuple[Segment, list[tuple[Tensor, Tensor]]]:
    """A prompt of 150 positions, and what each of 33 rows has after it: 0 to 96 more."""
    shared = decoders.segment(weights, 150, *decoders.random_cache(weights, 150))
    own = [decoders.random_cache(weights, 3 * row, seed=row) for row in range(ROWS)]
    return shared, own


def rows_of(
    weights: DecoderWeights, shared: Segment, own: list[tuple[Tensor, Tensor]], which: list[int]
) -> list[Row]:
    return [Row([shared, decoders.segment(weights, own[row][0].shape[2] + 1, *own[row])]) for row in which]


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_the_batch_its_order_and_the_threads_do_not_matter(family: str, dtype: torch.dtype) -> None:
    weights = decoders.weights_of(decoders.tiny_decoder(family, dtype=dtype))
    shared, own = prompts(weights)
    tokens = torch.randint(1003, (ROWS,))
    alone = []
    for row in range(ROWS):
        rows = rows_of(weights, shared, own, [row])
        alone.append((decode_step(weights, tokens[row : row + 1], rows, threads=1)[0], rows[0].segments[-1]))
    order = random.Random(0)
    for batch in (1, 2, 3, 5, 16, 33):
        for threads in (1, 2, 3):
            which = order.sample(range(ROWS), batch)
            rows = rows_of(weights, shared, own, which)
            logits = decode_step(weights, tokens[which], rows, threads=threads)
            for place, row in enumerate(which):
                expected, segment = alone[row]
                assert torch.equal(logits[place], expected), (batch, threads, row)
                written = rows[place].segments[-1]
                assert torch.equal(written.keys, segment.keys)
                assert torch.equal(written.values, segment.values)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("length", [0, 1, 63, 64, 130])
def test_the_cut_into_segments_does_not_matter(length: int, dtype: torch.dtype) -> None:
    weights = decoders.weights_of(decoders.tiny_decoder(dtype=dtype))
    keys, values = decoders.random_cache(weights, length)
    cuts = [
        [],
        [length],
        [length // 2],
        [length // 3, 0, length // 3],
        [1] * min(length, 9),
        [min(length, 64)],
    ]
    rows = [decoders.cut(weights, keys, values, lengths) for lengths in cuts]
    # Once together, where the rows of a batch might share chunks, and once each.
    together = decode_step(weights, torch.full((len(rows),), 5), rows)
    for place, lengths in enumerate(cuts):
        row = decoders.cut(weights, keys, values, lengths)
        assert torch.equal(decode_step(weights, torch.tensor([5]), [row])[0], together[0])
        assert torch.equal(together[place], together[0])


def test_rows_may_have_the_same_segment_at_different_places() -> None:
    weights = decoders.weights_of(decoders.tiny_decoder())
    shared = decoders.segment(weights, 128, *decoders.random_cache(weights, 128))
    before = decoders.segment(weights, 64, *decoders.random_cache(weights, 64, seed=1))
    tokens = torch.tensor([4, 4, 4])

    def rows() -> list[Row]:
        chains = ([shared], [before, shared], [shared, before])
        return [Row([*chain, decoders.segment(weights, 1)]) for chain in chains]

    logits = decode_step(weights, tokens, rows())
    for place, row in enumerate(rows()):
        assert torch.equal(decode_step(weights, tokens[:1], [row])[0], logits[place])
