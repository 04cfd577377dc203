"""Rollouts: prompts answered by the policy and scored."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workbench.training.ppo.answers import Told
from workbench.training.ppo.experience import Rollout
from workbench.training.ppo.rewarding import Rewarder
from workbench.training.ppo.writing import Writer


@dataclass
class Roller:
    """Writes answers with the policy as it is, and has them scored."""

    policy: Any
    writer: Writer
    rewarder: Rewarder
    ends: frozenset[int]
    scoring_seconds: float = 0.0

    def roll(
        self,
        records: Sequence[Mapping[str, Any]],
        prompts: Sequence[list[int]],
        samples: int,
        chances: Tensor,
        told: Told,
    ) -> Rollout:
        """`samples` answers to each prompt, scored; `chances` decide what is drawn (see `uniforms`)."""
        began = time.perf_counter()
        learning = self.policy.training
        # In training a checkpointed model gives up its cache; nothing else differs, for there is no dropout.
        self.policy.eval()
        try:
            answers = self.writer.write(prompts, samples, chances, told)
        finally:
            self.policy.train(learning)
        seconds = time.perf_counter() - began
        all_records = [record for record in records for _ in range(samples)]
        all_prompts = [prompt for prompt in prompts for _ in range(samples)]
        began = time.perf_counter()
        scores = self.rewarder(all_records, all_prompts, [answer.ids for answer in answers])
        self.scoring_seconds = time.perf_counter() - began
        ended = torch.tensor([answer.ids[-1] in self.ends for answer in answers])
        return Rollout(all_records, all_prompts, answers, ended, scores, seconds)
