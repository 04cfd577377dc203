"""PPO as an objective that can be looked at: its rows are prompts, and its loss is none of its own.

Training is `workbench.training.ppo`; this is what the inspector shows and what samples are made by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from workbench.data.records import ExampleStore, TaskRows
from workbench.errors import ModelError
from workbench.objectives.base import Batch, LossOutput, Rows
from workbench.objectives.sft import SupervisedFineTuning
from workbench.objectives.view import RowView, StreamView, TokenView

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PromptRows:
    """Prompts as they are read, one a row, padded on the left as a rollout pads them."""

    tasks: TaskRows

    @property
    def length(self) -> int:
        """Tokens of a prompt, at most."""
        return self.tasks.length

    def rows_per_epoch(self, epoch: int) -> int:
        """How many prompts an epoch has."""
        return self.tasks.rows_per_epoch(epoch)

    def batch(self, start: int, count: int) -> Batch:
        """`input_ids` and `attention_mask` [count, width]."""
        store, numbers = self.tasks.store, self.tasks.indices(start, count)
        width = int(store.lengths[numbers].max(initial=1))
        ids, mask = (np.zeros((len(numbers), width), np.int64) for _ in range(2))
        for row, number in enumerate(numbers.tolist()):
            own = store.input_ids[store.offsets[number] : store.offsets[number + 1]]
            ids[row, width - len(own) :], mask[row, width - len(own) :] = own, 1
        arrays = {"input_ids": ids, "attention_mask": mask}
        return Batch(arrays, (0,), int(mask.sum()))

    def report(self) -> dict[str, Any]:
        """The first epoch: `rows` and `tokens`."""
        store = self.tasks.store
        return {
            "rows": self.rows_per_epoch(0),
            "tokens": store.num_tokens,
            "padding": 0,
            "efficiency": 1.0,
            "cropped": 0,
        }


class PromptedPolicy(SupervisedFineTuning):
    """The prompts of PPO."""

    name: ClassVar[str] = "ppo"

    def rows(self, store: Any, length: int, *, training: bool) -> Rows:
        """One prompt a row, in the order of rollouts."""
        assert isinstance(store, ExampleStore)
        seed, shuffle = self.recipe.training.seed, training and self.recipe.data.shuffle
        return PromptRows(TaskRows(store, seed=seed, shuffle=shuffle, batch_bucketing=0))

    def check(self, model: nn.Module) -> None:
        """Nothing is packed."""

    def loss(self, model: nn.Module, tensors: dict[str, torch.Tensor], batch: Batch) -> LossOutput:
        """There is none without answers and their rewards. Raises `ModelError`."""
        raise ModelError(
            "prompts have no loss of their own",
            hint="a run of PPO is evaluated as it trains, by what its answers to held-out prompts score",
        )

    def view(self, batch: Batch) -> list[RowView]:
        """Each prompt, all of it context."""
        views = []
        for row, (ids, mask) in enumerate(
            zip(batch.arrays["input_ids"].tolist(), batch.arrays["attention_mask"].tolist(), strict=True)
        ):
            first = mask.index(1)
            tokens = [
                TokenView(token, "context" if real else "padding", max(0, place - first), 0 if real else -1)
                for place, (token, real) in enumerate(zip(ids, mask, strict=True))
            ]
            real = np.array(mask, bool)
            attends = np.tril(real[:, None] & real[None, :])
            views.append(RowView(row, [StreamView("prompt", tokens, attends)]))
        return views
