"""What a person would want to check before believing a curve of PPO, as lines of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.training.ppo.trainer import PPOTrainer


def lines(trainer: PPOTrainer, data: dict[str, Any]) -> list[str]:
    """Models, prompts, rewards, and what an iteration is."""
    section, models = trainer.recipe.ppo, trainer.learner.models
    told = [
        f"policy     {_size(models.policy)}",
        "reference  "
        + ("the policy with its adapters off" if models.reference is None else _size(models.reference)),
    ]
    if models.critic is not None:
        told.append(f"critic     {_size(models.critic)}, {_origin(trainer)}")
    told += [f"reward     {line}" for line in _rewards(trainer)]
    told.append(f"rollouts   by the {trainer.roller.writer.name}")
    told.append(
        f"prompts    {data['documents']:,} to learn from, {data['eval_documents']:,} held out, "
        f"{data['split']}; the longest has {data['longest']:,} tokens"
    )
    for source in [*data["sources"], *data["eval_sources"]]:
        told.append(
            f"source     {source['path']}: {source['documents']:,} records of the kind {source['kind']}, "
            f"weight {source['weight']:g}"
        )
    if data["too_long"]:
        told.append(f"left out   {data['too_long']:,} prompts that are too long")
    if data["blank_documents"]:
        told.append(f"left out   {data['blank_documents']:,} blank records")
    if not trainer.roller.ends:
        told.append("ends       the model has no token that ends an answer: each is as long as it may be")
    told.append(
        f"iterations {trainer.max_steps:,} of {trainer.answers:,} answers, {section.num_generations} to a "
        f"prompt: {section.num_ppo_epochs} epochs of {section.num_mini_batches} steps each"
    )
    return told


def _size(model: Any) -> str:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    learning = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    told = f"{type(model).__name__}, {parameters:,} parameters"
    return told if learning in (0, parameters) else f"{told}, of which {learning:,} learn"


def _origin(trainer: PPOTrainer) -> str:
    reward = trainer.roller.rewarder.model
    from_reward = reward is not None and reward.reads_tokens and reward.label is None
    return "begun as the reward model" if from_reward else "begun as the policy, with a new head"


def _rewards(trainer: PPOTrainer) -> list[str]:
    section, rewarder = trainer.recipe.ppo, trainer.roller.rewarder
    told = []
    if rewarder.model is not None:
        how = "tokens" if rewarder.model.reads_tokens else "text, through its own tokenizer"
        label = f", of “{section.reward_label}” the {section.reward_of_label}" if section.reward_label else ""
        told.append(f"model {section.reward_model_path}, which reads {how}{label}")
    if section.reward_pattern is not None:
        told.append(f"1 where {section.reward_pattern!r} is found, else 0")
    if section.reward_function is not None:
        told.append(f"function {section.reward_function}")
    if rewarder.weights:
        told.append("weights " + ", ".join(f"{name} {value:g}" for name, value in rewarder.weights.items()))
    return told
