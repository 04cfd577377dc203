"""Estimates of operations and memory against what torch counts on models that are really built."""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest
import torch
from estimate_cases import CASES, model_of, random_shape, recipe_of
from estimate_steps import loss_of, saved_bytes
from torch.utils.flop_counter import FlopCounterMode

from workbench.models.estimate import Load, load_for
from workbench.models.estimate.activations import activations
from workbench.models.estimate.flops import flops
from workbench.models.estimate.matrices import matrices
from workbench.models.estimate.shape import Shape, shape_of
from workbench.recipe import Recipe

SIZES = {
    "hidden_size": 60,
    "num_attention_heads": 6,
    "vocab_size": 300,
    "max_position_embeddings": 128,
    "num_hidden_layers": 3,
}


def case(family: str, objective: str, rows: int, length: int, **model: Any) -> tuple[Recipe, Shape, Load]:
    wanted = recipe_of(family, objective, **model)
    shape, _ = shape_of(wanted)
    assert shape is not None
    torch.manual_seed(0)
    return wanted, shape, load_for(wanted, shape, rows, length)


def sizes_of(family: str, **more: Any) -> dict[str, Any]:
    own = {"llama": {"num_key_value_heads": 2}, "electra": {"embedding_size": 40}}.get(family, {})
    return {**SIZES, **own, **more}


@pytest.mark.parametrize(("family", "objective"), CASES)
def test_operations_are_those_that_torch_counts(family: str, objective: str) -> None:
    sizes = random_shape(family, random.Random(f"{family} {objective} operations"))
    sizes["max_position_embeddings"] = 48
    wanted, shape, load = case(family, objective, 3, 41, **sizes)
    model = model_of(wanted, device="cpu", attn_implementation="eager")
    forward = loss_of(model, wanted, load)
    found = flops(shape, matrices(shape), load)
    # The first asks the model once how its logits are made, with a forward pass of one token.
    forward()
    with FlopCounterMode(display=False) as counter:
        loss = forward()
    assert found.forward * load.counted == pytest.approx(counter.get_total_flops(), rel=0.001)
    with FlopCounterMode(display=False) as counter:
        loss.backward()
    assert found.backward * load.counted == pytest.approx(counter.get_total_flops(), rel=0.001)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(("family", "objective"), CASES)
def test_activations_are_those_that_autograd_keeps(family: str, objective: str, bf16: bool) -> None:
    for rows, length, more in ((2, 126, {}), (5, 70, {"num_hidden_layers": 2, "intermediate_size": 200})):
        wanted, shape, load = case(family, objective, rows, length, **sizes_of(family, **more))
        model = model_of(wanted, device="cpu").train()
        seen = saved_bytes(model, loss_of(model, wanted, load), bf16=bf16).total
        found = activations(shape, matrices(shape), load, half=bf16).kept(checkpointing=False)
        assert found == pytest.approx(seen, rel=0.035 if bf16 else 0.015)


@pytest.mark.parametrize(("family", "objective"), [case for case in CASES if case[0] != "xlnet"])
def test_checkpointing_keeps_no_more_than_is_said(family: str, objective: str) -> None:
    wanted, shape, load = case(family, objective, 3, 70, **sizes_of(family, num_hidden_layers=6))
    model = model_of(wanted, device="cpu").train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        enable = getattr(model, "activation_checkpointing_enable", None)
        (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
    seen = saved_bytes(model, loss_of(model, wanted, load)).total
    found = activations(shape, matrices(shape), load, half=False)
    # Masks that are only passed on are held too, but are nothing that autograd saves.
    masks = 2 * load.tokens * load.length
    assert seen * 0.98 < found.kept(checkpointing=True) < (seen + masks) * 1.1
    assert found.kept(checkpointing=True) < found.kept(checkpointing=False) / 2


def test_masks_leave_half_of_causal_attention_and_a_window_of_local() -> None:
    _, shape, load = case("llama", "clm", 2, 100, **sizes_of("llama"))
    found = flops(shape, matrices(shape), load)
    assert found.attention_needed / found.attention == pytest.approx(0.505)
    sizes = sizes_of("modernbert", num_hidden_layers=6, local_attention=20, max_position_embeddings=256)
    _, shape, load = case("modernbert", "mlm", 2, 210, **sizes)
    found = flops(shape, matrices(shape), load)
    # Two of six layers attend to everything, the others to ten tokens either way.
    assert found.attention_needed / found.attention == pytest.approx((2 + 4 * 21 / 210) / 6)


def test_kaplans_rule_holds_where_attention_and_vocabulary_are_small() -> None:
    """6·N operations a token (Kaplan et al. 2020): a wide, short decoder comes close to it."""
    _, shape, load = case(
        "llama", "clm", 1, 32, hidden_size=2048, num_attention_heads=16, num_hidden_layers=24, vocab_size=300
    )
    found = flops(shape, matrices(shape), load)
    assert found.training / (6 * sum(m.products for m in matrices(shape))) == pytest.approx(1, abs=0.02)


def test_tuning_less_costs_less() -> None:
    _, shape, load = case("bert", "classification", 4, 64, **SIZES)
    parts = matrices(shape)
    full, frozen, lora = (flops(shape, parts, load, tuning=name) for name in ("full", "frozen", "lora"))
    assert full.forward == frozen.forward == lora.forward
    assert frozen.backward < 0.01 * full.backward
    assert 0.5 <= lora.backward / full.backward < 0.6
    again = flops(shape, parts, load, checkpointing=True)
    assert again.training == full.training
    assert again.executed / full.executed == pytest.approx(4 / 3, abs=0.01)
