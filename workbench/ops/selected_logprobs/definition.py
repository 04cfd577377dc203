"""What selected log-probabilities are, in plain PyTorch: any device and floating type.

Letters: N places, V entries of the vocabulary, D size of a hidden state.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear


class Inputs(NamedTuple):
    """What every path takes: see `selected_logprobs`."""

    hidden: Tensor  # [N, D]
    weight: Tensor  # [V, D]
    targets: Tensor  # [N]
    bias: Tensor | None  # [V]
    ignore_index: int
    scale: float
    softcap: float | None
    temperature: float


def precise(dtype: torch.dtype) -> torch.dtype:
    """What sums and exponentials are in: fp32, of fp64 fp64."""
    return torch.promote_types(dtype, torch.float32)


def definition(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Log-probability of each target [N], and whether no other token has a higher one [N] (bool).

    Logits are in the type of the hidden states, all that follows in fp32, as transformers' loss has it; 0 and
    false where a target is `ignore_index`. Differentiable by autograd in hidden states, weight and bias.
    """
    hidden, weight, targets, bias, ignore_index, *_ = inputs
    logits = shaped(linear(hidden, weight, bias).to(precise(hidden.dtype)), inputs)
    logprobs = -cross_entropy(logits, targets.long(), ignore_index=ignore_index, reduction="none")
    kept = targets != ignore_index
    seen = logits.detach()
    of_targets = seen.gather(1, targets.long().where(kept, 0)[:, None])[:, 0]
    return logprobs, (of_targets >= seen.amax(1)) & kept


def shaped(logits: Tensor, inputs: Inputs) -> Tensor:
    """softcap tanh(scale logits / softcap) / temperature; without a cap, scale logits / temperature."""
    if inputs.softcap is None:
        ratio = inputs.scale / inputs.temperature
        return logits if ratio == 1 else logits * ratio
    bent = (logits * (inputs.scale / inputs.softcap)).tanh()
    return bent * (inputs.softcap / inputs.temperature)
