"""Fused layers: what transformers' own layers compute, and only where they are such."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from compiled_home import compiled_home
from estimate_cases import model_of as built
from estimate_cases import recipe_of
from llama_layers import LENGTH, VOCABULARY, error, model_of, packed_positions, step
from peft import LoraConfig, get_peft_model

from workbench.models.fused_layers import fuse_layers
from workbench.ops.decoder_training.layer import layer

ROUNDING = {"fp32": 2.0**-24, "bf16": 2.0**-9}


@pytest.fixture(autouse=True)
def compiled(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compiled code is shared by all tests."""
    monkeypatch.setenv("WORKBENCH_HOME", str(compiled_home(tmp_path_factory)))


@pytest.mark.parametrize(("name", "is_packed"), [("Llama", False), ("Mistral", True), ("Qwen2", True)])
def test_logits_and_gradients_are_those_of_the_plain_layers(name: str, is_packed: bool) -> None:
    plain = model_of(name)
    fused = copy.deepcopy(plain)
    assert fuse_layers(fused) == 2
    positions = packed_positions() if is_packed else None
    expected = step(plain, positions)
    # Some twenty products in a row, of sums of at most 208 numbers, in another order.
    bound = 20 * 208**0.5 * ROUNDING["fp32"]
    assert max(error(step(fused, positions), expected)) < bound
    exact = step(copy.deepcopy(plain).double(), positions)
    halves = [error(step(model, positions, half=True), exact) for model in (fused, plain)]
    mine, theirs = (torch.tensor(each).square().mean().sqrt() for each in halves)
    # A tenth for the luck of rounding, which is another one on each processor.
    assert mine < 1.1 * theirs


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_what_is_not_such_a_layer_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    others: dict[str, dict[str, Any]] = {
        "Qwen3": {},  # norms of queries and keys
        "Gemma": {"head_dim": 32},  # norms of 1 + weight, another activation
        "Llama": {"hidden_act": "gelu"},
        "Phi3": {"eos_token_id": 1},  # one matrix for queries, keys and values
    }
    for name, values in others.items():
        assert fuse_layers(model_of(name, **values)) == 0, name
    adapted = get_peft_model(model_of(), LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"))
    assert fuse_layers(adapted) == 0
    assert fuse_layers(model_of(hidden_size=64)) == fuse_layers(model_of().bfloat16()) == 0
    monkeypatch.setattr("workbench.ops.decoder_training.native.library", lambda: "no compiler")
    assert fuse_layers(model_of()) == 0


def test_calls_that_ask_for_more_go_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    model = model_of(attention_dropout=0.1)
    fuse_layers(model)

    def counted(*given: Any) -> Any:
        calls.append(given)
        return layer(*given)

    monkeypatch.setattr("workbench.models.fused_layers.layer", counted)
    ids = torch.randint(1, VOCABULARY, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    model(input_ids=ids)  # dropout, and a cache
    model(input_ids=ids, use_cache=False)
    assert not calls
    model.eval()
    left = torch.ones_like(ids)
    left[0, :5] = 0
    with torch.no_grad():
        model(input_ids=ids, attention_mask=left, use_cache=False)
        assert not calls
        whole = model(input_ids=ids, use_cache=False).logits
        assert len(calls) == 2
        first = model(input_ids=ids[:, :-1], use_cache=True)
        last = model(input_ids=ids[:, -1:], past_key_values=first.past_key_values).logits
    assert len(calls) == 2
    torch.testing.assert_close(last, whole[:, -1:], rtol=1e-4, atol=1e-4)


def test_activations_may_be_recomputed_and_weights_frozen() -> None:
    plain = model_of()
    fused = copy.deepcopy(plain)
    fuse_layers(fused)
    for model in (plain, fused):
        model.model.layers[0].mlp.requires_grad_(False)
        model.model.layers[1].input_layernorm.requires_grad_(False)
    expected = step(plain, packed_positions())
    fused.activation_checkpointing_enable({"use_reentrant": False})
    bound = 20 * 208**0.5 * ROUNDING["fp32"]
    assert max(error(step(fused, packed_positions()), expected)) < bound
    assert set(fused.state_dict()) == set(plain.state_dict())


@pytest.mark.parametrize(
    ("attention", "count"),
    [
        ({"attention": "window_global", "sliding_window": 40}, 3),
        ({"attention": "window_global", "sliding_window": 40, "global_tokens": 2}, 3),
        ({"attention": "linear"}, 0),
        ({"qk_norm": True}, 0),
    ],
)
@torch.no_grad()
def test_rows_that_no_window_cuts_are_taken_and_the_others_left(
    attention: dict[str, Any], count: int
) -> None:
    """Also where attention has no mask, and documents begin where positions do not go on."""
    sizes = {"hidden_size": 128, "num_hidden_layers": 3, "vocab_size": 300, "initializer_range": 0.1}
    torch.manual_seed(0)
    model = built(recipe_of("llama", "clm", **sizes, **attention), device="cpu").eval()
    ids = torch.randint(3, 300, (2, 60))
    calls = ((ids, None), (ids[:, :30], torch.cat([torch.arange(10), torch.arange(20)])[None]))
    before = [model(row, position_ids=at, use_cache=False).logits for row, at in calls]
    assert fuse_layers(model) == count
    for (row, at), expected in zip(calls, before, strict=True):
        found = model(row, position_ids=at, use_cache=False).logits
        assert float((found - expected).abs().max()) < 1e-5 * float(expected.abs().max())
