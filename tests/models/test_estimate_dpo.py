"""What DPO is reckoned to take: two answers a prompt, logits by blocks, and a reference where one is held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig

from workbench.models.estimate import Known, estimate
from workbench.recipe import Recipe


@pytest.fixture
def known(tmp_path: Path) -> Any:
    LlamaConfig(
        vocab_size=50_000,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        architectures=["LlamaForCausalLM"],
    ).save_pretrained(tmp_path)

    def reckon(name: str = "dpo", method: str = "full", **objective: Any) -> Known:
        recipe = Recipe(
            objective={"name": name, **objective},
            model={"model_name_or_path": str(tmp_path)},
            data={"max_length": 256},
            tuning={"method": method},
        )
        found = estimate(recipe).known
        assert found is not None
        return found

    return reckon


def test_two_answers_a_prompt_and_few_logits_at_a_time(known: Any) -> None:
    pairs, talks = known(), known("sft")
    assert pairs.load.tokens == 2 * talks.load.tokens
    # Where no operator makes them a few at a time, as one does on this CPU.
    assert pairs.gpu_memory.logits == 3 * 4 * 50_000 * ((1 << 24) // 50_000)
    assert pairs.gpu_memory.logits < talks.gpu_memory.logits
    assert pairs.memory.logits < pairs.gpu_memory.logits


def test_a_reference_is_held_unless_it_was_asked_before_or_is_the_policy_without_adapters(known: Any) -> None:
    before, held = known(), known(precompute_ref_log_probs=False)
    assert not before.memory.other_models
    assert held.memory.other_models == held.memory.weights
    assert held.memory.peak == before.memory.peak + held.memory.weights
    assert not known(method="lora", precompute_ref_log_probs=False).memory.other_models
