"""Evaluation: what the policy's answers to held-out prompts score, drawn from the same numbers every time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench.objectives.ppo.rewards import eos_penalty
from workbench.training.ppo.answers import Told
from workbench.training.ppo.drawing import EVALUATION, uniforms
from workbench.training.ppo.learner import Learner

if TYPE_CHECKING:
    from workbench.data.records import ExampleStore
    from workbench.recipe import Recipe
    from workbench.training.ppo.roller import Roller


@dataclass
class HeldOut:
    """Held-out prompts, as many as `max_eval_batches` of the evaluation's batch size."""

    recipe: Recipe
    store: ExampleStore
    roller: Roller
    learner: Learner

    @property
    def count(self) -> int:
        """How many prompts an evaluation answers."""
        training = self.recipe.training
        size = training.per_device_eval_batch_size or training.per_device_train_batch_size
        most = training.max_eval_batches
        return len(self.store) if most is None else min(len(self.store), most * size)

    @torch.no_grad()
    def evaluate(self, told: Told) -> dict[str, float]:
        """`eval_score`, `eval_kl` of a response in nats, `eval_length` in tokens, `eval_ended`, and the parts
        of the score."""
        numbers = range(self.count)
        records: list[Mapping[str, Any]] = [self.store.records[self.store.examples[n]] for n in numbers]
        prompts = [ids_of(self.store, number) for number in numbers]
        length, seed = self.recipe.ppo.response_length, self.recipe.training.seed
        chances = uniforms(len(prompts), length, seed, EVALUATION)
        rollout = self.roller.roll(records, prompts, 1, chances, told)
        judged = self.learner.judge(rollout, np.arange(len(prompts)))
        kl = (judged.logprobs - judged.ref_logprobs).sum(1)
        scores, penalty = rollout.scores.total, self.recipe.ppo.missing_eos_penalty
        if penalty is not None:
            scores = eos_penalty(scores, rollout.ended, penalty)
        found = {
            "eval_score": float(scores[~scores.isnan()].mean()),
            "eval_kl": float(kl.mean()),
            "eval_length": float(judged.mask.sum(1).mean()),
            "eval_ended": float(rollout.ended.float().mean()),
        }
        if len(rollout.scores.parts) > 1:
            found |= {
                f"eval_rewards/{name}": float(values[~values.isnan()].mean())
                for name, values in rollout.scores.parts.items()
            }
        return found


def ids_of(store: ExampleStore, number: int) -> list[int]:
    """The tokens of a prompt."""
    found: list[int] = store.input_ids[store.offsets[number] : store.offsets[number + 1]].tolist()
    return found
