"""Reading many tokens of a row at once: against transformers, and to the last bit against decode steps."""

from __future__ import annotations

import decoders
import pytest
import torch
from torch import Tensor

from workbench.ops.decode import DecoderWeights, Row, decode_step, prefill, prefill_reference

LENGTH = 150


def random_ids(length: int = LENGTH) -> Tensor:
    return torch.randint(1003, (length,), generator=torch.Generator().manual_seed(2))


def read(weights: DecoderWeights, ids: Tensor, row: Row, parts: list[int], threads: int = 2) -> Tensor:
    """Logits [n, V] of `ids` read in parts of these lengths, the rest last."""
    logits = []
    for part in ids.split([*parts, len(ids) - sum(parts)]):
        logits.append(prefill(weights, part.contiguous(), row, logits="all", threads=threads))
        row.segments[-1].length += len(part)
    return torch.cat(logits)


def decoded(weights: DecoderWeights, ids: Tensor, row: Row) -> Tensor:
    logits = []
    for token in ids:
        logits.append(decode_step(weights, token[None], [row], threads=1))
        decoders.advance([row])
    return torch.cat(logits)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_logits_are_those_of_transformers(family: str, native: bool) -> None:
    model = decoders.tiny_decoder(family)
    weights, ids = decoders.weights_of(model), random_ids()
    with torch.no_grad():
        expected = model(ids[None], use_cache=False).logits[0]
    row = Row([decoders.segment(weights, LENGTH)])
    for start, end in ((0, 70), (70, 71), (71, LENGTH)):
        if native:
            logits = prefill(weights, ids[start:end], row, logits="all")
        else:
            logits = prefill_reference(weights, ids[start:end], row, range(end - start))
        torch.testing.assert_close(logits, expected[start:end], rtol=0, atol=1e-4)
        row.segments[-1].length = end


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_it_gives_the_bits_of_decode_steps(family: str, dtype: torch.dtype) -> None:
    weights, ids = decoders.weights_of(decoders.tiny_decoder(family, dtype=dtype)), random_ids()
    steps = Row([decoders.segment(weights, LENGTH)])
    expected = decoded(weights, ids, steps)
    for parts, threads in (([], 1), ([], 3), ([64, 64], 2), ([1, 40, 63, 5], 2), ([130], 1)):
        row = Row([decoders.segment(weights, LENGTH)])
        assert torch.equal(read(weights, ids, row, parts, threads), expected), (parts, threads)
        assert torch.equal(row.segments[0].keys, steps.segments[0].keys)
        assert torch.equal(row.segments[0].values, steps.segments[0].values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_beginning_from_elsewhere_gives_the_same_bits(dtype: torch.dtype) -> None:
    weights, ids = decoders.weights_of(decoders.tiny_decoder(dtype=dtype)), random_ids()
    whole = Row([decoders.segment(weights, LENGTH)])
    expected = read(weights, ids, whole, [])
    for lengths in ([100], [64], [30, 1, 70]):
        known = sum(lengths)
        keys, values = (tensor[:, :, :known] for tensor in (whole.segments[0].keys, whole.segments[0].values))
        row = decoders.cut(weights, keys, values, lengths, room=LENGTH - known)
        assert torch.equal(read(weights, ids[known:], row, [7]), expected[known:])


def test_only_the_logits_that_are_wanted_are_given() -> None:
    weights, ids = decoders.weights_of(decoders.tiny_decoder()), random_ids(20)

    def fresh() -> Row:
        return Row([decoders.segment(weights, 20)])

    everything = prefill(weights, ids, fresh(), logits="all")
    assert torch.equal(prefill(weights, ids, fresh()), everything[-1:])
    row = fresh()
    assert prefill(weights, ids, row, logits="none").shape == (0, 1003)
    row.segments[0].length = 20
    row.segments.append(decoders.segment(weights, 1))
    again = prefill(weights, ids[:1], row)
    row.segments[-1].length = 0
    assert torch.equal(decode_step(weights, ids[:1], [row]), again)
    assert prefill(weights, ids[:0], fresh()).shape == (0, 1003)


def test_tokens_that_do_not_fit_are_refused() -> None:
    weights = decoders.weights_of(decoders.tiny_decoder(max_position_embeddings=10))
    with pytest.raises(ValueError, match="5 new in room for 4"):
        prefill(weights, random_ids(5), Row([decoders.segment(weights, 4)]))
    with pytest.raises(ValueError, match="10 positions"):
        prefill(weights, random_ids(11), Row([decoders.segment(weights, 20)]))
    with pytest.raises(ValueError, match="vocabulary"):
        prefill(weights, torch.tensor([1, 2000]), Row([decoders.segment(weights, 20)]))
