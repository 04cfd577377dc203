"""The models of a run and the steps that they learn by: old log-probabilities, then epochs of minibatches."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from workbench.data.epochs import permutation
from workbench.errors import TrainingError
from workbench.objectives.ppo.advantages import token_kl
from workbench.objectives.ppo.losses import policy_loss, value_loss
from workbench.objectives.reductions import masked_mean
from workbench.training.ppo.experience import Experience, Judged, Rollout
from workbench.training.ppo.rows import Rows, rows_of
from workbench.training.ppo.token_logprobs import TokenLogprobs

if TYPE_CHECKING:
    from workbench.recipe import Recipe
    from workbench.training.ppo.critic import Critic

MINIBATCHES = 103
"""What a permutation is for."""

Step = Callable[[int, int], None]
"""Hears how many optimiser steps are done, of how many."""


@dataclass
class Models:
    """The policy; the reference, None where it is the policy with its adapters off; the critic, if any."""

    policy: Any
    reference: Any | None
    critic: Critic | None


class Learner:
    """Judges rollouts and learns from them. `optimizer` holds policy and critic in groups of their own.

    Micro-batches of the first epoch are also those that the old log-probabilities, the reference's and the
    values come from: the same rows in the same shapes, so that the first ratio is 1 and the KL of an unmoved
    policy 0 to the last bit.
    """

    def __init__(self, recipe: Recipe, models: Models, optimizer: torch.optim.Optimizer) -> None:
        self.recipe, self.models, self.optimizer = recipe, models, optimizer
        section, training = recipe.ppo, recipe.training
        self.section = section
        self.micro_rows = training.per_device_train_batch_size
        self.minibatch = self.micro_rows * training.gradient_accumulation_steps
        self.policy = TokenLogprobs(models.policy, section.temperature)
        self.reference = (
            self.policy if models.reference is None else TokenLogprobs(models.reference, section.temperature)
        )
        self.kl_coef = section.kl_coef
        """β of the KL in the loss (GRPO), as the controller has it."""
        self.device = next(models.policy.parameters()).device

    def _autocast(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.training.bf16)

    def order(self, step: int, epoch: int, answers: int) -> np.ndarray:
        """The order of the answers in an epoch of iteration `step`: a fresh permutation each."""
        return permutation(answers, self.recipe.training.seed, MINIBATCHES, step, epoch)

    def _rows(self, rollout: Rollout, numbers: Sequence[int]) -> Rows:
        return rows_of(
            [rollout.prompts[number] for number in numbers],
            [rollout.answers[number].ids for number in numbers],
            self.section.response_length,
            self.device,
        )

    @torch.no_grad()
    def judge(self, rollout: Rollout, order: np.ndarray) -> Judged:
        """What policy, reference and critic say of a rollout, before anything is learned from it."""
        shape = (len(rollout.answers), self.section.response_length)
        tables = [torch.zeros(shape) for _ in range(5)]
        own_adapters = contextlib.nullcontext
        if self.models.reference is None:
            own_adapters = self.models.policy.disable_adapter
        for start in range(0, len(order), self.micro_rows):
            numbers = order[start : start + self.micro_rows].tolist()
            rows = self._rows(rollout, numbers)
            with self._autocast():
                logprobs, entropy = self.policy(rows)
                with own_adapters():
                    ref_logprobs, _ = self.reference(rows)
                critic = self.models.critic
                values = torch.zeros_like(logprobs) if critic is None else critic(rows)
            found = (torch.ones_like(logprobs), logprobs, ref_logprobs, entropy, values)
            for table, part in zip(tables, found, strict=True):
                table[numbers] = rows.table(part.float()).cpu()
        return Judged(*tables)

    def learn(
        self, rollout: Rollout, experience: Experience, step: int, rate: float, told: Step
    ) -> dict[str, float]:
        """All epochs over a rollout; the means of what is logged. Raises `TrainingError` at a loss that is no
        number."""
        section = self.section
        self._set_rates(rate)
        stats = Stats()
        answers = len(rollout.answers)
        steps, done = section.num_ppo_epochs * (answers // self.minibatch), 0
        for epoch in range(section.num_ppo_epochs):
            order = self.order(step, epoch, answers)
            for start in range(0, answers, self.minibatch):
                self._minibatch(rollout, experience, order[start : start + self.minibatch], stats)
                done += 1
                told(done, steps)
        return stats.means()

    def _minibatch(self, rollout: Rollout, experience: Experience, order: np.ndarray, stats: Stats) -> None:
        """One optimiser step. Every micro-batch's sum is divided by the real tokens of all of them."""
        tokens = float(experience.learns[order.tolist()].sum())
        if not tokens:
            return
        sums: dict[str, float] = {}
        for start in range(0, len(order), self.micro_rows):
            numbers = order[start : start + self.micro_rows].tolist()
            rows = self._rows(rollout, numbers)
            # One after the other, so that the activations of only one are held.
            parts = [self._policy(rows, experience, numbers, tokens)]
            if self.models.critic is not None:
                parts.append(self._critic(self.models.critic, rows, experience, numbers, tokens))
            for found in parts:
                for name, value in found.items():
                    sums[name] = sums.get(name, 0.0) + float(value)
        if not all(math.isfinite(value) for value in sums.values()):
            raise TrainingError(
                "the loss is no number any more: "
                + ", ".join(f"{name} {value:g}" for name, value in sums.items()),
                hint="resume from an earlier checkpoint with a lower training.learning_rate or a higher "
                "ppo.kl_coef",
            )
        sums["grad_norm"] = self._clip(self.models.policy)
        if self.models.critic is not None:
            sums["critic/grad_norm"] = self._clip(self.models.critic)
        self.optimizer.step()
        self.optimizer.zero_grad()
        stats.add(sums)

    def _policy(
        self, rows: Rows, experience: Experience, numbers: list[int], tokens: float
    ) -> dict[str, Tensor]:
        """The policy's loss of a micro-batch, backwards too; what is logged of it."""
        section, judged = self.section, experience.judged
        mask = self._of(experience.learns, numbers)
        with self._autocast():
            flat, entropies = self.policy(rows)
        logprobs = rows.table(flat)
        policy = policy_loss(
            logprobs,
            self._of(judged.logprobs, numbers),
            self._of(experience.advantages, numbers),
            mask,
            cliprange=section.cliprange,
            denominator=tokens,
        )
        loss = policy.loss
        found = {
            "loss/policy_avg": policy.loss.detach(),
            "policy/approxkl_avg": policy.approxkl,
            "policy/clipfrac_avg": policy.clipfrac,
            "policy/entropy_avg": masked_mean(rows.table(entropies), mask, tokens),
            "val/ratio": policy.ratio,
        }
        if section.advantage == "grpo":
            reference = self._of(judged.ref_logprobs, numbers)
            penalty = masked_mean(token_kl(logprobs, reference, mask, "k3"), mask, tokens)
            loss = loss + self.kl_coef * penalty
            found["loss/kl_avg"] = penalty.detach()
        loss.backward()
        return found | {"loss": loss.detach()}

    def _critic(
        self, critic: Critic, rows: Rows, experience: Experience, numbers: list[int], tokens: float
    ) -> dict[str, Tensor]:
        """The critic's loss of a micro-batch, backwards too; what is logged of it."""
        section = self.section
        with self._autocast():
            values = critic(rows)
        value = value_loss(
            rows.table(values),
            self._of(experience.judged.values, numbers),
            self._of(experience.returns, numbers),
            self._of(experience.learns, numbers),
            cliprange_value=section.cliprange_value,
            denominator=tokens,
        )
        loss = section.vf_coef * value.loss
        loss.backward()
        return {
            "loss/value_avg": value.loss.detach(),
            "val/clipfrac_avg": value.clipfrac,
            "val/error": value.error,
            "loss": loss.detach(),
        }

    def _of(self, table: Tensor, numbers: list[int]) -> Tensor:
        return table[numbers].to(self.device)

    def _clip(self, model: nn.Module) -> float:
        """Policy and critic are clipped apart, so that neither's gradient shrinks the other's."""
        limit = self.recipe.training.max_grad_norm or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), limit))
        if not math.isfinite(norm):
            raise TrainingError(
                f"a gradient became {norm}",
                hint="resume from an earlier checkpoint with a lower training.learning_rate",
            )
        return norm

    def _set_rates(self, rate: float) -> None:
        peak = self.recipe.training.learning_rate
        critics = self.section.critic_learning_rate or peak
        for group in self.optimizer.param_groups:
            group["lr"] = rate * critics / peak if group.get("is_critic") else rate


class Stats:
    """What minibatches gave, added up; `val/ratio_var` is the variance of their mean ratios."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.ratios: list[float] = []

    def add(self, found: dict[str, float]) -> None:
        """One minibatch more."""
        self.ratios.append(found["val/ratio"])
        for name, value in found.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        """The mean of each over all minibatches."""
        count = max(1, len(self.ratios))
        values = {name: value / count for name, value in self.sums.items()}
        values["val/ratio_var"] = float(np.var(self.ratios, ddof=1)) if count > 1 else 0.0
        return values
