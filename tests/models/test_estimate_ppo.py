"""What PPO is reckoned to take: the models beside the policy, and keys and values of its rollouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import LlamaConfig

from workbench.models.estimate import Estimate, estimate
from workbench.recipe import Recipe


def reckoned(folder: Path, method: str = "full", **section: Any) -> Estimate:
    recipe = Recipe.model_validate(
        {
            "objective": {"name": "ppo"},
            "model": {"model_name_or_path": str(folder)},
            "data": {"max_length": 128},
            "tuning": {"method": method},
            "ppo": {"num_generations": 4, "num_mini_batches": 2, "response_length": 32, **section},
            "training": {"load_best_model_at_end": False, "per_device_train_batch_size": 4},
        }
    )
    return estimate(recipe)


def test_every_model_is_counted_once(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=500,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        architectures=["LlamaForCausalLM"],
    )
    config.save_pretrained(tmp_path)
    plain = reckoned(tmp_path, advantage="rloo", method="lora")
    assert plain.known is not None
    size, cache = 4 * plain.known.parameters.total, plain.known.memory.other_models
    # Eight answers of 32 tokens with their prompts, keys and values in fp32.
    assert cache == 8 * 64 * 2 * 2 * 64 * 4
    without = reckoned(tmp_path, advantage="rloo")
    assert without.known is not None
    size = 4 * without.known.parameters.total
    assert without.known.memory.other_models == cache + size
    whole = reckoned(tmp_path, reward_model_path="judge")
    assert whole.known is not None
    assert whole.known.memory.other_models == cache + (1 + 4 + 1) * size
    assert whole.known.memory.peak == without.known.memory.peak + 5 * size
    assert "critic and reward model reckoned as large" in whole.notes[0]
    assert "critic" not in without.notes[0] and "reference" in without.notes[0]
