"""Checkpoints of PPO: beside policy, optimiser and state, the critic, the KL coefficient and the guards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import CheckpointError, TrainingError
from workbench.training import checkpoint, random_state
from workbench.training.ppo.critic import save_critic
from workbench.training.saving import prune as delete_old

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.recipe import Recipe
    from workbench.training.ppo.trainer import PPOTrainer

KEY = "ppo"
LOWER = ("eval_kl", "eval_length")
"""Of what an evaluation gives, what is better the less it is."""


def save(trainer: PPOTrainer, *, prune: bool) -> str:
    """Write the checkpoint of the present step; its name."""
    run, state, models = trainer.run, trainer.state, trainer.learner.models
    target = run.path / f"checkpoint-{state.step}"

    def critic(folder: Path) -> None:
        if models.critic is not None:
            save_critic(models.critic, folder)

    own = {"controller": trainer.controller.state_dict(), "watch": trainer.watch.state_dict()}
    checkpoint.save(
        target,
        model=models.policy,
        tokenizer=trainer.tokenizer,
        optimizer=trainer.learner.optimizer,
        state=state,
        random_states=[random_state.capture()],
        extra={KEY: own},
        more=critic,
    )
    if prune:
        delete_old(run, state, trainer.recipe, target)
    return target.name


def own_state(found: checkpoint.Checkpoint) -> Mapping[str, Any]:
    """What a checkpoint holds of PPO. Raises `CheckpointError` where that is nothing."""
    try:
        own: Mapping[str, Any] = found.extra[KEY]
        return own
    except KeyError:
        raise CheckpointError("the checkpoint is not one of PPO", where=str(found.path)) from None


def score_of(values: dict[str, float], recipe: Recipe) -> float:
    """What decides which checkpoint is best, greater being better. Without a wish it is the score."""
    wanted = recipe.training.metric_for_best_model
    name = wanted if wanted in values else f"eval_{wanted}"
    if wanted == "eval_loss":
        name = "eval_score"
    if name not in values:
        raise TrainingError(
            f"training.metric_for_best_model is {wanted}, which an evaluation does not have",
            hint=f"one of: {', '.join(sorted(values))}",
        )
    return -values[name] if name in LOWER else values[name]
