"""The last layer of a reward model: how it starts, where it reads, and where its zero lies."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.errors import ModelError
from workbench.objectives.reductions import wide


@torch.no_grad()
def initialize_reward_head(head: nn.Linear, generator: torch.Generator | None = None) -> None:
    """Weights from N(0, 1/√(d + 1)) (the standard deviation; d the size of hidden states) and a bias of 0.

    Source: Stiennon et al. 2020, appendix; Huang et al. 2024, detail on the reward head.
    """
    # Drawn in fp32 on the CPU, so that a seed means the same weights on every device and in every dtype.
    drawn = torch.randn(head.weight.shape, generator=generator) / (head.in_features + 1) ** 0.5
    head.weight.copy_(drawn)
    if head.bias is not None:
        head.bias.zero_()


def last_real_token(attention_mask: Tensor) -> Tensor:
    """Where each row of a mask [B, T] ends [B], padded on whichever side; 0 for a row of padding."""
    positions = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    return (positions * attention_mask.bool()).amax(1)


def at_last_real_token(values: Tensor, attention_mask: Tensor) -> Tensor:
    """Of values [B, T] or [B, T, d], those at each row's last real token, [B] or [B, d].

    By the mask, not by the id of the padding: that may equal the end of the text.
    """
    rows = torch.arange(values.shape[0], device=values.device)
    return values[rows, last_real_token(attention_mask)]


@torch.no_grad()
def center_on_references(head: nn.Linear, reference_scores: Tensor) -> float:
    """Shift the bias so that reference answers score 0 on average; returns what was added.

    `reference_scores` [N] are the scores of answers written by people, by the model as it is. Source:
    Stiennon et al. 2020; Ouyang et al. 2022, section 3.5.
    """
    if head.bias is None:
        raise ModelError(
            "the reward head has no bias that could be shifted",
            hint="give the head a bias, or subtract the references' mean score wherever rewards are used",
        )
    if reference_scores.numel() == 0:
        raise ModelError("no reference answers to centre the reward model on", hint="leave centring out")
    # In fp64: the scores may be in bf16, and a thousand of them lose the mean.
    shift = -float(reference_scores.double().mean())
    head.bias.copy_(wide(head.bias) + shift)
    return shift
