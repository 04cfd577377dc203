"""The score at every token of a row, where transformers gives that at the last one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from workbench.models.reward_head import reward_layer
from workbench.objectives.task import bare


class AllScores(nn.Module):
    """A reward model whose `logits` [B, T, 1] are what its head says of every token.

    They are taken from the head as the model's own forward passes through it, under whatever PEFT and
    processes have wrapped around it. In all else it is the model.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)

    def forward(self, **inputs: Any) -> Any:
        """See the class."""
        seen: list[torch.Tensor] = []
        hook = reward_layer(bare(self.model)).register_forward_hook(lambda *all: seen.append(all[-1]))
        try:
            self.model(**inputs)
        finally:
            hook.remove()
        return SimpleNamespace(logits=seen[-1])
