"""Sums, means and whitening over real tokens only: padding takes no part, whatever stands there."""

from __future__ import annotations

import torch
from torch import Tensor

WHITENING_EPSILON = 1e-8
"""Added to the variance, as in TRL's `masked_whiten`."""


def wide(values: Tensor) -> Tensor:
    """Values in fp32; those in fp64 stay as they are, so that gradients can be checked."""
    return values if values.dtype == torch.float64 else values.float()


def masked(values: Tensor, mask: Tensor) -> Tensor:
    """Wide values with zeros where the mask [same shape, bool or 0/1] has none.

    Filled, not multiplied: an infinity or a NaN at a padded place would survive a product, and its gradient
    too.
    """
    return wide(values).masked_fill(~mask.bool(), 0.0)


def masked_mean(values: Tensor, mask: Tensor, denominator: Tensor | float | None = None) -> Tensor:
    """The mean over places where the mask is set, a scalar; 0 where it is set nowhere.

    With `denominator` the sum is divided by it instead: given the number of real tokens of a whole minibatch,
    the results of its micro-batches add up to the mean over all of it, however unequal they are.
    """
    total = masked(values, mask).sum()
    return total / (mask.sum().clamp(min=1) if denominator is None else denominator)


def masked_variance(values: Tensor, mask: Tensor) -> Tensor:
    """The variance over places where the mask is set, with Bessel's correction; 0 for fewer than two."""
    centred = masked(wide(values) - masked_mean(values, mask), mask)
    return centred.square().sum() / (mask.sum() - 1).clamp(min=1)


def masked_whiten(values: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    """Values of variance 1 over real tokens, and of mean 0 unless `shift_mean` is off, which keeps the mean.

    Shapes: values and mask [B, T], result [B, T] with zeros at padded places. Source: Huang et al. 2024, "The
    N+ Implementation Details of RLHF with PPO", details on reward and advantage whitening.
    """
    mean = masked_mean(values, mask)
    whitened = (wide(values) - mean) * torch.rsqrt(masked_variance(values, mask) + WHITENING_EPSILON)
    return masked(whitened if shift_mean else whitened + mean, mask)
