"""Weights that learn in soft prompts, against PEFT's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_models import at, model_of

from workbench.models.adapt import adapt
from workbench.models.estimate import estimate
from workbench.models.load import load_model
from workbench.models.purpose import Purpose
from workbench.recipe import validate

TUNINGS: list[dict[str, Any]] = [
    {"method": "prompt"},
    {"method": "prefix"},
    {"method": "prefix", "prefix_projection": True},
    {"method": "prefix", "prefix_projection": True, "encoder_hidden_size": 24},
]


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
@pytest.mark.parametrize("tuning", TUNINGS)
def test_they_are_counted_exactly(tuning: dict[str, Any], tmp_path: Path) -> None:
    model_of("llama", "clm", num_key_value_heads=2).save_pretrained(tmp_path)
    given = {"model": {"model_name_or_path": str(tmp_path)}, "data": {"packing": False}}
    tuning = tuning | {"prompt_tuning_init": "RANDOM", "num_virtual_tokens": 7}
    recipe = validate(given | {"tuning": tuning}, "test")
    known = estimate(recipe).known
    assert known is not None
    model = adapt(load_model(at(tmp_path)), recipe.tuning, Purpose("clm"))
    learning = sum(weights.numel() for weights in model.parameters() if weights.requires_grad)
    assert known.parameters.trainable == learning
    assert known.parameters.total == sum(weights.numel() for weights in model.parameters())
