"""AdamW with decay on matrices only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import nn

    from workbench.recipe import TrainingSection


def build_optimizer(model: nn.Module, section: TrainingSection) -> torch.optim.AdamW:
    """AdamW over the trainable weights."""
    return adamw(groups_of(model, section), section)


def groups_of(model: nn.Module, section: TrainingSection) -> list[dict[str, Any]]:
    """The trainable weights in groups of one decay; norms and biases (one-dimensional) have none."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": section.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def adamw(groups: list[dict[str, Any]], section: TrainingSection) -> torch.optim.AdamW:
    """The recipe's AdamW over groups of weights."""
    return torch.optim.AdamW(
        groups,
        lr=section.learning_rate,
        betas=(section.adam_beta1, section.adam_beta2),
        eps=section.adam_epsilon,
        fused=groups[0]["params"][0].device.type in ("cpu", "cuda"),
    )
