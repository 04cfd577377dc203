"""The ppo section: what answers are rewarded for, and how the policy learns from its rewards."""

from __future__ import annotations

import math
import re
from typing import Any, Literal

from pydantic import Field, model_validator

from workbench.recipe.section import Section

MODEL, PATTERN, FUNCTION = "model", "pattern", "function"
"""The parts of a reward, as weights and logs name them."""

GUARD_CHANCE = 1e-5
"""A change that chance alone would make so often is none."""


class PPOSection(Section):
    """Rewards, rollouts and the optimisation of PPO and of its critic-free relatives RLOO and GRPO."""

    advantage: Literal["gae", "rloo", "grpo"] = Field(
        "gae",
        description="What an answer is measured against. gae: a critic's guess (PPO); rloo: the other "
        "answers to its prompt; grpo: the same, over their standard deviation, the KL a part of the loss.",
    )
    sft_model_path: str | None = Field(
        None,
        description="The reference, which the policy is kept near. Empty: the policy as the run begins; "
        "under lora the same weights with the adapters off.",
    )
    reward_model_path: str | None = Field(
        None, description="A model that scores answers: a sequence classifier, one label or several."
    )
    reward_label: str | None = Field(
        None, description="Of a reward model with several labels, the one that is wanted."
    )
    reward_of_label: Literal["log_odds", "probability"] = Field(
        "log_odds", description="What the reward is of that label: its log-odds, or its probability."
    )
    reward_input: Literal["all", "response"] = Field(
        "all", description="What the reward model reads: the prompt with its response, or that alone."
    )
    reward_batch_size: int = Field(32, ge=1, description="Answers that the reward model scores at once.")
    reward_pattern: str | None = Field(
        None,
        description="A regular expression: an answer in which it is found scores 1, another 0. It has no "
        "time limit: avoid repeats inside repeats.",
    )
    reward_function: str | None = Field(
        None,
        description="A Python function, package.module:function, called as TRL calls them: prompts, "
        "completions and the records' other columns, by name. It returns a number for each.",
    )
    reward_path: str | None = Field(
        None, description="The folder that its module is in. Empty: where the run is started."
    )
    reward_weights: dict[Literal["model", "pattern", "function"], float] = Field(
        default_factory=dict, description="Weights in the sum, as in {model: 1, pattern: 0.5}. Each is 1."
    )
    missing_eos_penalty: float | None = Field(
        None, ge=0, description="Taken off the score of an answer that never came to its end."
    )
    response_length: int = Field(53, ge=1, description="Tokens of an answer at most.")
    prompt_length: int = Field(
        8, ge=1, description="Of records that are running text: how many of their tokens are the prompt."
    )
    temperature: float = Field(
        1.0, gt=0, description="Answers are drawn with it, and log-probabilities are divided by it."
    )
    num_generations: int = Field(
        1, ge=1, description="Answers to each prompt. rloo and grpo need two; four or more are useful."
    )
    total_episodes: int | None = Field(
        None, ge=1, description="Answers in all; max_steps goes before it. Empty: from num_train_epochs."
    )
    num_ppo_epochs: int = Field(4, ge=1, description="Passes over the answers of an iteration.")
    num_mini_batches: int = Field(
        1,
        ge=1,
        description="Optimiser steps in a pass. An iteration has per_device_train_batch_size · "
        "gradient_accumulation_steps · num_mini_batches answers, as in TRL.",
    )
    local_rollout_forward_batch_size: int = Field(
        64, ge=1, description="Answers that are written at the same time; memory for keys and values."
    )
    rollout_engine: Literal["auto", "native", "transformers"] = Field(
        "auto",
        description="What writes them: native: the workbench's own decoder (a CPU, Llama-shaped models); "
        "transformers: the model's forward with a cache; auto: the first that can.",
    )
    kl_coef: float = Field(0.05, ge=0, description="β: what a nat of KL to the reference costs.")
    kl_estimator: Literal["k1", "k3"] = Field(
        "k1", description="gae, rloo: k1 is log π − log π_ref; k3 is never negative (Schulman 2020)."
    )
    kl_controller: Literal["fixed", "adaptive"] = Field(
        "fixed", description="adaptive: β is moved until the KL is near kl_target (Ziegler et al. 2019)."
    )
    kl_target: float | None = Field(
        None, gt=0, description="adaptive: KL of a response, in nats. Ziegler et al. took 6 to 10."
    )
    kl_horizon: float = Field(10_000, gt=0, description="adaptive: in how many answers β can follow.")
    gamma: float = Field(1.0, ge=0, le=1, description="gae: discount of later rewards.")
    lam: float = Field(0.95, ge=0, le=1, description="gae: λ.")
    whiten_rewards: bool = Field(False, description="gae: rewards of variance 1; their mean stays.")
    whiten_advantages: bool = Field(True, description="gae: advantages of mean 0 and variance 1.")
    scale_rewards: Literal["group", "batch", "none"] = Field(
        "group", description="grpo: the standard deviation that advantages are divided by, if any."
    )
    cliprange: float = Field(0.2, gt=0, lt=1, description="Clip range ε of the ratio π/π_old.")
    cliprange_value: float = Field(0.2, gt=0, description="gae: clip range of the critic's values.")
    vf_coef: float = Field(0.1, ge=0, description="gae: weight of the critic's loss.")
    critic_learning_rate: float | None = Field(
        None, gt=0, description="gae: of the critic. Empty: training.learning_rate."
    )
    guard: Literal["stop", "warn", "off"] = Field(
        "stop",
        description="What happens when the policy collapses (KL runaway, entropy collapse, length drift): "
        "the run ends with a checkpoint and says why; or it says so and goes on.",
    )
    guard_window: int = Field(24, ge=5, description="guard: iterations that say what is usual.")
    guard_recent: int = Field(8, ge=1, description="guard: iterations that say what is now.")
    guard_kl_limit: float | None = Field(
        None, gt=0, description="guard: KL of a response, in nats. Empty: six times kl_target, or none."
    )
    guard_entropy_fraction: float = Field(
        0.25, gt=0, lt=1, description="guard: entropy below this share of the first is a collapse."
    )
    guard_length_factor: float = Field(
        2.0, gt=1, description="guard: answers so many times as long, or as short, are a drift."
    )
    logged_rollouts: int = Field(
        8, ge=0, le=256, description="Answers of an iteration that are kept in rollouts.jsonl."
    )

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the reward that there are."""
        given = {
            MODEL: self.reward_model_path,
            PATTERN: self.reward_pattern,
            FUNCTION: self.reward_function,
        }
        return tuple(name for name, value in given.items() if value is not None)

    @property
    def has_critic(self) -> bool:
        """Whether a second model learns what answers are worth."""
        return self.advantage == "gae"

    @model_validator(mode="after")
    def _fits_together(self) -> PPOSection:
        if self.advantage != "gae" and self.num_generations < 2:
            # Half-made recipes, and those of other objectives, keep their defaults.
            raise ValueError(
                f"advantage {self.advantage} compares answers to the same prompt: set num_generations to 2 "
                "or more"
            )
        if self.kl_controller == "adaptive" and (self.kl_target is None or self.kl_coef == 0):
            raise ValueError("kl_controller adaptive needs a kl_target, and a kl_coef above 0 to begin with")
        if self.guard_recent > self.guard_window:
            raise ValueError("guard_recent cannot be more than guard_window")
        if 2 / math.comb(self.guard_window + self.guard_recent, self.guard_recent) >= GUARD_CHANCE:
            raise ValueError(
                f"guard_window {self.guard_window} and guard_recent {self.guard_recent} are too few "
                "iterations to tell a change from chance; 24 and 8 are enough"
            )
        if self.reward_label is not None and self.reward_model_path is None:
            raise ValueError("reward_label is a label of a reward model: name it as reward_model_path")
        if unknown := sorted(set(self.reward_weights) - set(self.parts)):
            raise ValueError(f"reward_weights names {unknown[0]}, but there is no reward_{unknown[0]} here")
        if self.reward_pattern is not None:
            try:
                re.compile(self.reward_pattern)
            except re.error as error:
                raise ValueError(f"reward_pattern is no regular expression: {error}") from None
        return self


def check_ppo(recipe: Any) -> None:
    """Raise `ValueError` where the ppo section does not fit the rest of a recipe."""
    section, training = recipe.ppo, recipe.training
    if not recipe.model.model_name_or_path:
        raise ValueError(
            "objective.name ppo begins with a model that can already write: model.model_name_or_path"
        )
    if recipe.tuning.method not in ("full", "lora"):
        raise ValueError(
            f"objective.name ppo trains with tuning.method full or lora, not {recipe.tuning.method}"
        )
    if recipe.tuning.lora_dropout:
        raise ValueError("objective.name ppo has no dropout anywhere: set tuning.lora_dropout=0")
    if training.fp16:
        raise ValueError("objective.name ppo runs in fp32 or bf16: set training.fp16=false")
    if training.torch_compile:
        raise ValueError("objective.name ppo is not compiled: set training.torch_compile=false")
    if recipe.launch.num_processes > 1:
        raise ValueError("objective.name ppo runs in one process: set launch.num_processes=1")
    if training.load_best_model_at_end and training.metric_for_best_model == "eval_loss":
        raise ValueError(
            "objective.name ppo has no eval_loss: set training.load_best_model_at_end=false for the last "
            "model, or training.metric_for_best_model=score for the one with the highest held-out score"
        )
    answers = answers_of(recipe)
    if answers % section.num_generations:
        raise ValueError(
            f"an iteration has {answers} answers, which is no multiple of ppo.num_generations "
            f"{section.num_generations}"
        )


def answers_of(recipe: Any) -> int:
    """Answers in an iteration, by the rule of TRL."""
    training = recipe.training
    return int(
        training.per_device_train_batch_size
        * training.gradient_accumulation_steps
        * recipe.ppo.num_mini_batches
    )
