"""The decode step against transformers, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import decoders
import pytest
import torch
from torch import Tensor

from workbench.ops.decode import DecoderWeights, Row, Segment, choose, decode_reference, decode_step

STEPS = 70  # more than one chunk of 64 positions
Step = Callable[..., Tensor]
FAMILIES = ("llama", "qwen2", "qwen3")


def decoded(step: Step, weights: DecoderWeights, ids: Tensor) -> Tensor:
    """Logits [B, n, V] of `ids` [B, n], one token a step from nothing."""
    rows = [Row([decoders.segment(weights, ids.shape[1])]) for _ in ids]
    logits = []
    for position in range(ids.shape[1]):
        logits.append(step(weights, ids[:, position].contiguous(), rows))
        decoders.advance(rows)
    return torch.stack(logits, 1)


def random_ids(batch: int = 3, length: int = STEPS) -> Tensor:
    return torch.randint(1003, (batch, length), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def forward(model: Any, ids: Tensor) -> Tensor:
    logits: Tensor = model(ids, use_cache=False).logits
    return logits


@pytest.mark.parametrize("step", [decode_step, decode_reference])
@pytest.mark.parametrize("head_dim", [64, 32, 80, 128])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_transformers(family: str, head_dim: int, step: Step) -> None:
    model = decoders.tiny_decoder(family, head_dim=head_dim)
    weights, ids = decoders.weights_of(model), random_ids()
    assert choose(weights).native
    torch.testing.assert_close(decoded(step, weights, ids), forward(model, ids), rtol=0, atol=1e-4)


@pytest.mark.parametrize("head_dim", [64, 80])
@pytest.mark.parametrize("family", FAMILIES)
def test_error_in_bf16_is_at_most_twice_that_of_pytorch(family: str, head_dim: int) -> None:
    model = decoders.tiny_decoder(family, dtype=torch.bfloat16, head_dim=head_dim)
    weights, ids = decoders.weights_of(model), random_ids()
    ours, theirs = decoded(decode_step, weights, ids), forward(model, ids)
    exact = forward(model.double(), ids)
    errors = [float((logits.double() - exact).square().mean().sqrt()) for logits in (ours, theirs)]
    assert errors[0] <= 2 * errors[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_shared_prompt_is_read_as_if_each_row_had_its_own(dtype: torch.dtype) -> None:
    model = decoders.tiny_decoder(dtype=dtype)
    weights, ids = decoders.weights_of(model), random_ids(6, 1)[:, 0]
    shared = decoders.segment(weights, 100, *decoders.random_cache(weights, 100))
    rows, references = ([Row([shared]) for _ in ids] for _ in range(2))
    for index, pair in enumerate(zip(rows, references, strict=True)):
        own = decoders.random_cache(weights, 3 * index, seed=index)
        for row in pair:
            row.segments.append(decoders.segment(weights, 3 * index + 1, *own))
    before = shared.keys.clone(), shared.values.clone()
    ours, theirs = decode_step(weights, ids, rows), decode_reference(weights, ids, references)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 if dtype == torch.float32 else 0.1)
    assert torch.equal(shared.keys, before[0]) and torch.equal(shared.values, before[1])
    for row, reference in zip(rows, references, strict=True):
        mine, other = row.segments[-1], reference.segments[-1]
        for written, expected in ((mine.keys, other.keys), (mine.values, other.values)):
            torch.testing.assert_close(
                written, expected, rtol=0, atol=1e-4 if dtype == torch.float32 else 0.05
            )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_only_the_place_of_the_new_token_is_written(dtype: torch.dtype) -> None:
    weights = decoders.weights_of(decoders.tiny_decoder(dtype=dtype, head_dim=80))
    layers, kv_heads, head_dim = len(weights.layers), weights.kv_heads, weights.head_dim
    # Positions lie outside heads, and there is more on every side.
    memory = torch.full((2, layers, 12, kv_heads + 2, head_dim + 2), 7.0, dtype=dtype)
    keys, values = memory[..., 1:-1, 1:-1].transpose(2, 3).unbind()
    expected = torch.zeros(memory.shape, dtype=torch.bool)
    expected[:, :, 5, 1:-1, 1:-1] = True
    decode_step(weights, torch.tensor([3]), [Row([Segment(keys, values, 5)])])
    assert torch.equal(memory != 7.0, expected)


def test_logits_go_where_they_are_wanted() -> None:
    weights = decoders.weights_of(decoders.tiny_decoder())
    out = torch.empty(1, 1003)
    fresh = decode_step(weights, torch.tensor([3]), [Row([decoders.segment(weights, 1)])])
    given = decode_step(weights, torch.tensor([3]), [Row([decoders.segment(weights, 1)])], out=out)
    assert given is out and torch.equal(out, fresh)


def test_no_rows_give_no_logits() -> None:
    weights = decoders.weights_of(decoders.tiny_decoder())
    assert decode_step(weights, torch.empty(0, dtype=torch.int64), []).shape == (0, 1003)


@pytest.mark.parametrize("token", [-1, 1003])
def test_a_token_outside_the_vocabulary_is_refused(token: int) -> None:
    weights = decoders.weights_of(decoders.tiny_decoder())
    with pytest.raises(ValueError, match="vocabulary"):
        decode_step(weights, torch.tensor([token]), [Row([decoders.segment(weights, 1)])])


def test_rows_that_do_not_fit_are_refused() -> None:
    weights = decoders.weights_of(decoders.tiny_decoder(max_position_embeddings=10))
    other = decoders.weights_of(decoders.tiny_decoder(head_dim=32))
    full = Segment(*decoders.random_cache(weights, 4), 4)
    late = [Segment(*decoders.random_cache(weights, 10), 10), decoders.segment(weights, 1)]
    for segments, message in (
        ([full], "room for 4"),
        (late, "10 positions"),
        ([decoders.segment(other, 4)], "a decoder of"),
        ([Segment(full.keys.double(), full.values.double(), 0)], "a decoder of"),
        ([], "no segment"),
    ):
        with pytest.raises(ValueError, match=message):
            decode_step(weights, torch.tensor([0]), [Row(segments)])


def test_tokens_and_logits_of_another_shape_are_refused() -> None:
    weights = decoders.weights_of(decoders.tiny_decoder())
    rows = [Row([decoders.segment(weights, 1)])]
    with pytest.raises(ValueError, match="int64"):
        decode_step(weights, torch.tensor([1], dtype=torch.int32), rows)
    with pytest.raises(ValueError, match="int64"):
        decode_step(weights, torch.tensor([1, 2]), rows)
    with pytest.raises(ValueError, match="fp32"):
        decode_step(weights, torch.tensor([1]), rows, out=torch.empty(1, 5))


def test_keys_that_the_step_cannot_read_make_no_segment() -> None:
    keys = torch.zeros(2, 3, 4, 64)
    with pytest.raises(ValueError, match="alike"):
        Segment(keys, keys[:, :, :3], 0)
    with pytest.raises(ValueError, match="together"):
        Segment(keys.transpose(2, 3), keys.transpose(2, 3), 0)


def test_what_the_native_step_does_not_do_takes_the_definition() -> None:
    half = decoders.weights_of(decoders.tiny_decoder(dtype=torch.float16))
    assert "float16" in choose(half).reason and not choose(half).native
    logits = decode_step(half, torch.tensor([3]), [Row([decoders.segment(half, 1)])])
    assert logits.shape == (1, 1003) and logits.dtype == torch.float32

    across = decoders.weights_of(decoders.tiny_decoder())
    across.layers[1].down = across.layers[1].down.t().contiguous().t()
    assert "down is not a contiguous tensor" in choose(across).reason

    short = decoders.weights_of(decoders.tiny_decoder())
    short.layers[0].q_norm = torch.ones(3)
    assert "q_norm is [3], not [64]" in choose(short).reason
