"""What PPO holds beside the policy: reference, critic, reward model, keys and values of rollouts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workbench.models.estimate.activations import FLOAT
from workbench.models.estimate.memory import Memory

if TYPE_CHECKING:
    from workbench.models.estimate.cache import KeyValueCache
    from workbench.models.estimate.parameters import Parameters
    from workbench.recipe import Recipe

STATES = 4
"""Of a model that learns, in fp32: weights, gradients and two moments of AdamW."""

GUESSED = ("critic", "reward model")
"""No recipe says how large they are."""


def beside_policy(recipe: Recipe, parameters: Parameters, cache: KeyValueCache) -> dict[str, int]:
    """Bytes of each, by name. Critic and reward model are reckoned as large as the policy; keys and values
    are in fp32 (bf16 where the run is), of answers of full length."""
    section, size = recipe.ppo, FLOAT * parameters.total
    shares_weights = recipe.tuning.method == "lora" and section.sft_model_path is None
    rows = min(
        section.local_rollout_forward_batch_size,
        recipe.training.per_device_train_batch_size
        * recipe.training.gradient_accumulation_steps
        * section.num_mini_batches,
    )
    # The cache is reckoned in bf16.
    width = 1 if recipe.training.bf16 else 2
    # All answers to a prompt share its keys and values; the prompt is no longer than its answer, mostly.
    length = 2 * section.response_length
    found = {
        "reference": 0 if shares_weights else size,
        "critic": STATES * size if section.has_critic else 0,
        "reward model": size if section.reward_model_path else 0,
        "keys and values of rollouts": width * rows * cache.bytes(length, length),
    }
    return {name: amount for name, amount in found.items() if amount}


def with_others(memory: Memory, others: dict[str, int]) -> Memory:
    """The memory of training with what is held beside it all the time."""
    extra = sum(others.values())
    return replace(memory, other_models=extra, peak=memory.peak + extra)


def note(others: dict[str, int]) -> str:
    """What the others are, in a line."""
    parts = ", ".join(f"{name} {amount / 1e9:.2f} GB" for name, amount in others.items())
    guessed = " and ".join(name for name in GUESSED if name in others)
    as_large = f"; {guessed} reckoned as large as the policy" if guessed else ""
    return (
        f"beside the policy: {parts}{as_large}. Speed and cost are those of learning from each token once, "
        "without rollouts and without the epochs of PPO"
    )
