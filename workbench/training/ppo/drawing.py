"""Drawing tokens from a model's distribution: from all of it, and from random numbers that are given.

Each token of each answer has a number of its own, which follows from the seed, the iteration and its place.
So what is drawn depends on the weights alone, and not on which answers are written together.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

ROLLOUT, EVALUATION = 101, 102
"""What numbers are for, so that no two streams are alike."""


def uniforms(answers: int, length: int, *entropy: int) -> Tensor:
    """Numbers in [0, 1) by `entropy`, one for each token of each answer: [answers, length], fp64, CPU.

    From raw PCG64 output, which NumPy keeps the same for ever.
    """
    bits = np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(answers * length)
    return torch.from_numpy((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53).view(answers, length)


def draw(logits: Tensor, temperature: float, chances: Tensor) -> tuple[Tensor, Tensor]:
    """One token of each row of logits [B, V], and its log-probability [B], at a temperature.

    `chances` [B] in [0, 1) decide, by inversion of the distribution function, whose sum is in fp64: in fp32
    the last of 50,000 tokens would be a thousandth too likely or not at all. No token of probability 0 comes.
    """
    if logits.device.type == "mps":  # which has no fp64
        logits = logits.cpu()
    logprobs = torch.log_softmax(logits.float() / temperature, dim=-1)
    below = logprobs.double().exp_().cumsum_(-1)
    whole = below[:, -1:]
    # Rounding may reach the whole sum, behind which there is no token.
    reached = torch.minimum(chances.to(whole.device).unsqueeze(1) * whole, torch.nextafter(whole, -whole))
    tokens = torch.searchsorted(below, reached, right=True)
    return tokens[:, 0], logprobs.gather(1, tokens)[:, 0]
