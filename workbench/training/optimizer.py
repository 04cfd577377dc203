"""AdamW with decay on matrices only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn

    from workbench.recipe import TrainingSection


def build_optimizer(model: nn.Module, section: TrainingSection) -> torch.optim.AdamW:
    """AdamW over the trainable weights; norms and biases (one-dimensional) are not decayed."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": section.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=section.learning_rate,
        betas=(section.adam_beta1, section.adam_beta2),
        eps=section.adam_epsilon,
        fused=trainable[0].device.type in ("cpu", "cuda"),
    )
