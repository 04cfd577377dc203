"""The reward of an answer: a model's score, a rule's, a function's, or their weighted sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from workbench.data.records.prompts import user_text
from workbench.errors import RecipeError
from workbench.objectives.ppo.rewards import FunctionReward, RegexReward, sum_of_rewards
from workbench.recipe.ppo_section import FUNCTION, MODEL, PATTERN
from workbench.training.ppo.reward_model import RewardModel

if TYPE_CHECKING:
    from workbench.recipe import Recipe


@dataclass(frozen=True)
class Scores:
    """Of B answers: each part of the reward [B], NaN where there is none, and their weighted sum."""

    parts: dict[str, Tensor]
    total: Tensor


class Rewarder:
    """Scores answers by all that the recipe names. Raises `RecipeError` or `ModelError` when it is made."""

    def __init__(self, recipe: Recipe, tokenizer: Any, device: torch.device) -> None:
        section = recipe.ppo
        if not section.parts:
            raise RecipeError(
                "there is no reward to learn from",
                where="the section ppo of the recipe",
                hint="name one: ppo.reward_model_path, ppo.reward_function or ppo.reward_pattern",
            )
        self.weights = {str(name): weight for name, weight in section.reward_weights.items()}
        self.tokenizer = tokenizer
        self.model = RewardModel(recipe, tokenizer, device) if section.reward_model_path else None
        self.rules: dict[str, RegexReward | FunctionReward] = {}
        if section.reward_pattern is not None:
            self.rules[PATTERN] = RegexReward(section.reward_pattern)
        if section.reward_function is not None:
            folder = Path(section.reward_path or ".").expanduser()
            self.rules[FUNCTION] = FunctionReward(section.reward_function, folder)

    def __call__(
        self,
        records: Sequence[Mapping[str, Any]],
        prompt_ids: Sequence[Sequence[int]],
        answer_ids: Sequence[Sequence[int]],
    ) -> Scores:
        """Scores of answers to the prompts of these records, all of length B. Raises `TrainingError`.

        Rules are given the answer as text without special tokens; of running text, the tokens that were the
        prompt are what they are given as that. A function gets the records' other columns by name, and
        `messages` of conversations.
        """
        completions = [self._said(prompt, ids) for prompt, ids in zip(prompt_ids, answer_ids, strict=True)]
        asked = [self._asked(record, ids) for record, ids in zip(records, prompt_ids, strict=True)]
        parts: dict[str, Tensor] = {}
        if self.model is not None:
            parts[MODEL] = self.model(asked, completions, prompt_ids, answer_ids)
        if self.rules:
            prompts = [
                text if isinstance(text, str) else user_text(record)
                for text, record in zip(asked, records, strict=True)
            ]
            columns = _columns(records)
            for name, rule in self.rules.items():
                parts[name] = torch.tensor(rule(prompts, completions, columns), dtype=torch.float32)
        return Scores(parts, sum_of_rewards(parts, self.weights))

    def _said(self, prompt: Sequence[int], answer: Sequence[int]) -> str:
        """An answer as text. Decoded behind its prompt, for alone it may lose the blank it begins with."""
        before = str(self.tokenizer.decode(prompt, skip_special_tokens=True))
        whole = str(self.tokenizer.decode([*prompt, *answer], skip_special_tokens=True))
        if whole.startswith(before):
            return whole[len(before) :]
        return str(self.tokenizer.decode(answer, skip_special_tokens=True))

    def _asked(self, record: Mapping[str, Any], ids: Sequence[int]) -> Any:
        if "text" in record:
            return self.tokenizer.decode(ids, skip_special_tokens=True)
        return record["prompt"]


def _columns(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = {name for record in records for name in record["columns"]}
    found = {name: [record["columns"].get(name) for record in records] for name in sorted(names)}
    if any(isinstance(record.get("prompt"), list) for record in records):
        found["messages"] = [record.get("prompt") for record in records]
    return found
