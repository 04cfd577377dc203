"""Estimates of decoders by kind of attention, against what torch and the operators count."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from estimate_cases import model_of, recipe_of
from estimate_steps import loss_of, saved_bytes
from torch.utils.flop_counter import FlopCounterMode

from workbench.models.estimate import decoder_attention, estimate, load_for
from workbench.models.estimate.activations import activations
from workbench.models.estimate.decoder_attention import computed_pairs
from workbench.models.estimate.flops import flops
from workbench.models.estimate.matrices import matrices
from workbench.models.estimate.parameters import count
from workbench.models.estimate.shape import Shape, shape_of, shape_of_config
from workbench.ops import linear_attention
from workbench.ops.sparse_attention import parts
from workbench.ops.sparse_attention.definition import visible
from workbench.ops.sparse_attention.pattern import Pattern
from workbench.recipe.attention_kinds import AttentionShape

SIZES = {
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 512,
}
KINDS: dict[str, dict[str, Any]] = {
    "window": {"attention": "sliding_window", "sliding_window": 100},
    "layers by turns": {"attention": "window_global", "sliding_window": 64, "qk_norm": True},
    "global tokens": {"attention": "window_global", "sliding_window": 64, "global_tokens": 4},
    "strided": {"attention": "strided", "attention_stride": 16, "sliding_window": 70},
    "linear": {"attention": "linear"},
    "normalised": {"qk_norm": True},
}


def shape_with(kind: str) -> Shape:
    shape, _ = shape_of(recipe_of("llama", "clm", **SIZES, **KINDS[kind]))
    assert shape is not None
    return shape


@pytest.mark.parametrize(
    "seen",
    [
        AttentionShape("sliding_window", 5),
        AttentionShape("window_global", 5, 3),
        AttentionShape("window_global", 5, 30),
        AttentionShape("strided", 6, stride=4),
        AttentionShape("strided", 3, stride=7),
    ],
)
def test_keys_seen_are_those_of_the_mask(seen: AttentionShape) -> None:
    pattern = Pattern(seen.window, seen.global_tokens, seen.stride)
    for length in (1, 5, 6, 33):
        counts = visible(pattern, length, torch.zeros(1, length, dtype=torch.int64)).sum(-1)[0, 0]
        assert [seen.seen(position) for position in range(length)] == counts.tolist()
        assert seen.mean_seen(length) == pytest.approx(float(counts.float().mean()))


@pytest.mark.parametrize("kind", ["window", "global tokens", "strided"])
def test_pairs_are_those_that_the_pieces_compute(kind: str) -> None:
    assert decoder_attention.LEAST_SPAN == parts.LEAST_SPAN
    shape, length = shape_with(kind), 300
    seen = shape.attention
    pattern = Pattern(seen.window, seen.global_tokens, seen.stride)
    device = torch.device("cpu")
    cuts: list[parts.Part] = [parts.Local(pattern, 1, length, None, device)]
    cuts += [parts.Strided(pattern, 1, length, None, device)] if seen.stride else []
    x = torch.zeros(1, 1, length, 1)
    total = sum(part.fold(x).numel() * part.keys(x).shape[2] for part in cuts)
    assert computed_pairs(shape, length) == total


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_activations_are_those_of_the_model(kind: str, bf16: bool) -> None:
    """In rows longer than the window and shorter."""
    wanted, shape = recipe_of("llama", "clm", **SIZES, **KINDS[kind]), shape_with(kind)
    model = model_of(wanted, device="cpu").train()
    assert count(shape, wanted.tuning).total == sum(weight.numel() for weight in model.parameters())
    for length in (192, 48):
        load = load_for(wanted, shape, 2, length)
        seen = saved_bytes(model, loss_of(model, wanted, load), bf16=bf16).total
        found = activations(shape, matrices(shape), load, half=bf16).kept(checkpointing=False)
        # Chunks of linear attention are whole, also where a row is not.
        slack = 0.25 if kind == "linear" and length % linear_attention.CHUNK else 0.0
        assert seen * (0.965 - slack) < found < seen * 1.035


def test_operations_of_linear_attention_are_those_that_torch_counts() -> None:
    assert decoder_attention.CHUNK == linear_attention.CHUNK
    wanted, shape = recipe_of("llama", "clm", **SIZES, **KINDS["linear"]), shape_with("linear")
    load = load_for(wanted, shape, 3, 150)
    forward = loss_of(model_of(wanted, device="cpu"), wanted, load)
    forward()
    with FlopCounterMode(display=False) as counter:
        loss = forward()
    found = flops(shape, matrices(shape), load)
    assert found.forward * load.counted == pytest.approx(counter.get_total_flops(), rel=0.001)
    with FlopCounterMode(display=False) as counter:
        loss.backward()
    assert found.backward * load.counted == pytest.approx(counter.get_total_flops(), rel=0.001)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_has_the_shape_of_its_recipe(kind: str, tmp_path: Path) -> None:
    wanted = recipe_of("llama", "clm", **SIZES, **KINDS[kind])
    model_of(wanted).config.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    found, shape = shape_of_config(config, "clm"), shape_with(kind)
    seen = dataclasses.replace(shape.attention, global_every=0, whole_layers=found.attention.whole_layers)
    assert found.attention == seen
    assert found.attention.global_layers(4) == shape.attention.global_layers(4)
    assert dataclasses.replace(found, attention=shape.attention) == shape


def test_longer_rows_cost_a_window_in_proportion_and_full_attention_more() -> None:
    def attention(length: int, **kind: Any) -> float:
        shape, _ = shape_of(recipe_of("llama", "clm", **SIZES, **kind))
        assert shape is not None
        load = load_for(recipe_of("llama", "clm", **SIZES), shape, 1, length)
        return flops(shape, matrices(shape), load).attention_needed

    assert attention(4096) == pytest.approx(4 * attention(1024), rel=0.01)
    for kind in ("window", "linear"):
        assert attention(4096, **KINDS[kind]) < 1.1 * attention(1024, **KINDS[kind])


def test_a_cache_of_a_window_ends_with_it() -> None:
    known = estimate(recipe_of("llama", "clm", **SIZES, **KINDS["layers by turns"])).known
    assert known is not None
    cache = known.cache
    # One layer of four sees everything, in bf16: keys and values of 2 heads of 16.
    assert (cache.own, cache.windowed, cache.window) == (128, 3 * 128, 64)
    assert cache.bytes(64) == 64 * 512 and cache.bytes(65) == 64 * 512 + 128
