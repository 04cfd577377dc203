"""What the training loop asks of an objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from torch import nn

    from workbench.data import Batch


@dataclass
class LossOutput:
    """Sums, never means: the loop divides once, by the count over all micro-batches and processes.

    loss_sum: scalar with gradient, nats summed over targets; count: targets in it;
    correct: targets predicted right (no gradient).
    """

    loss_sum: torch.Tensor
    count: int
    correct: torch.Tensor


class Objective(Protocol):
    """A rule that turns rows into tensors and a model's answer to them into a loss."""

    name: str

    def tensors(self, batch: Batch, device: torch.device) -> dict[str, torch.Tensor]:
        """The rows as the tensors that `loss` takes."""
        ...

    def loss(self, model: nn.Module, tensors: dict[str, torch.Tensor], count: int) -> LossOutput:
        """The summed loss of a batch with `count` targets."""
        ...
