"""The models of a run: the policy that learns, the reference it is kept near, the critic."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from workbench.data.artifact import key_of
from workbench.errors import ModelError
from workbench.models.fast_products import use_fast_products
from workbench.models.fused_layers import fuse_layers
from workbench.models.load import load_model
from workbench.models.purpose import Purpose
from workbench.training.ppo.critic import Critic, critic_of_policy, critic_of_reward, restore_critic
from workbench.training.ppo.learner import Models
from workbench.training.ppo.reward_model import RewardModel, load_classifier, score_head
from workbench.training.starting_model import AS_IT_IS, starting_model

if TYPE_CHECKING:
    from workbench.recipe import Recipe

PURPOSE = Purpose("clm")

SAMPLES, SAMPLE_BYTES = 16, 1 << 16
"""Of a file of weights, read to tell it from another of the same size."""


def models_of(
    recipe: Recipe, tokenizer: Any, reward: RewardModel | None, checkpoint: Path | None, device: torch.device
) -> Models:
    """All of them on their device, without dropout, as the run begins or as they are in a checkpoint."""
    changed = {"model": recipe.model.model_copy(update={"dropout": 0.0})}
    policy: Any = without_dropout(
        starting_model(recipe.model_copy(update=changed), tokenizer, PURPOSE, checkpoint)
    )
    reference = _reference(recipe)
    critic = _critic(recipe, reward) if recipe.ppo.has_critic else None
    if critic is not None and checkpoint is not None:
        restore_critic(critic, checkpoint)
    for model in (policy, reference, critic):
        if model is not None:
            model.to(device).eval()
            fuse_layers(model)
            use_fast_products(model)
    if reference is not None:
        reference.requires_grad_(False)
    return Models(policy, reference, critic)


def _begun(recipe: Recipe, name: str | None = None) -> Any:
    """A causal model as the run begins with it, or the one of another name."""
    update: dict[str, Any] = {"dropout": 0.0}
    if name is not None:
        update |= {"model_name_or_path": name, **AS_IT_IS}
    return without_dropout(load_model(recipe.model.model_copy(update=update), PURPOSE))


def _reference(recipe: Recipe) -> Any | None:
    name = recipe.ppo.sft_model_path
    if name is None and recipe.tuning.method == "lora":
        return None
    model = _begun(recipe, name)
    if name is not None:
        _check_alike(recipe, model, name)
    return model


def _check_alike(recipe: Recipe, reference: Any, name: str) -> None:
    """Log-probabilities are of tokens: both models must know the same ones."""
    from workbench.models.load import load_config

    policy = int(load_config(recipe.model).get_text_config().vocab_size)
    own = int(reference.config.get_text_config().vocab_size)
    if policy != own:
        raise ModelError(
            f"the reference has a vocabulary of {own:,} tokens, the policy one of {policy:,}",
            where=name,
            hint="leave ppo.sft_model_path empty, or name a model of the same family",
        )


def _critic(recipe: Recipe, reward: RewardModel | None) -> Critic:
    """From the reward model where that is a decoder that reads the policy's tokens; else from the policy's
    body, with a new head."""
    if reward is not None and reward.reads_tokens and reward.label is None:
        model = without_dropout(load_classifier(reward.path, recipe))
        head = score_head(model)
        if head is not None:
            # What adapters were merged into is frozen still.
            return critic_of_reward(model, head).requires_grad_(True)
    generator = torch.Generator().manual_seed(recipe.training.seed)
    return critic_of_policy(_begun(recipe), generator)


def without_dropout(model: Any) -> Any:
    """Turn off every dropout layer, also those that a configuration does not name."""
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return model


def fingerprint(recipe: Recipe) -> str:
    """Stands for the models beside the policy that are in folders: with others a run cannot go on exactly."""
    told: list[Any] = []
    for name in (recipe.ppo.sft_model_path, recipe.ppo.reward_model_path, recipe.model.model_name_or_path):
        folder = Path(name or "").expanduser()
        if name and folder.is_dir():
            files = sorted(folder.glob("*.safetensors"))
            told.append([[path.name, _sample(path)] for path in files])
    return key_of(told)


def _sample(path: Path) -> str:
    """Stands for a file of weights by its size and some of its bytes, for training moves all of them."""
    size, found = path.stat().st_size, blake2b(digest_size=16)
    found.update(str(size).encode())
    with path.open("rb") as file:
        for number in range(SAMPLES):
            file.seek(size * number // SAMPLES)
            found.update(file.read(SAMPLE_BYTES))
    return found.hexdigest()
