"""Linear layers by the other library: the same numbers, but for the order of sums."""

from __future__ import annotations

import copy

import pytest
import torch
from llama_layers import error, model_of, step
from torch import nn

from workbench.models.fast_products import use_fast_products


def test_logits_and_gradients_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.models.fast_products.prefers_onednn", lambda: True)
    plain = model_of("Qwen3", attention_bias=True, tie_word_embeddings=True)
    fast = copy.deepcopy(plain)
    assert use_fast_products(fast) == 2 * 7 + 1 and use_fast_products(fast) == 0
    plain.model.layers[0].self_attn.k_proj.weight.requires_grad_(False)
    fast.model.layers[0].self_attn.k_proj.weight.requires_grad_(False)
    # Biases of keys move nothing, and their gradients are nothing but rounding.
    for model in (plain, fast):
        for layer in model.model.layers:
            layer.self_attn.k_proj.bias.requires_grad_(False)
    found = step(copy.deepcopy(fast))
    assert max(error(found, step(plain))) < 20 * 208**0.5 * 2.0**-24
    for mine, right in zip(step(fast, half=True), step(plain, half=True), strict=True):
        assert torch.equal(mine, right)


def test_other_processors_and_other_layers_keep_their_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.models.fast_products.prefers_onednn", lambda: False)
    assert use_fast_products(model_of()) == 0
    monkeypatch.setattr("workbench.models.fast_products.prefers_onednn", lambda: True)
    layer = nn.Linear(8, 3).double()
    assert use_fast_products(nn.Sequential(layer, nn.Bilinear(2, 3, 4))) == 1
    inputs = torch.ones(20, 8, dtype=torch.float64)
    assert torch.equal(layer(inputs), nn.functional.linear(inputs, layer.weight, layer.bias))
