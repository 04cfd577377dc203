"""Gradients that are spread over ranks: their norm, clipping, and those of a weight that two stages hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

if TYPE_CHECKING:
    from torch import nn

    from workbench.training.parallel.layout import Layout


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This rank's part of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def holders(tensor: torch.Tensor, layout: Layout) -> int:
    """How many ranks hold this rank's part of a weight or gradient, all of them one stage's."""
    stage = layout.degrees.world_size // layout.degrees.pp
    if not isinstance(tensor, DTensor):
        return stage
    mesh = tensor.device_mesh
    parts = 1
    for axis, placement in enumerate(tensor.placements):
        # A weight that tensor parallelism has cut before is sharded in strides, which is another class.
        if not placement.is_replicate() and not placement.is_partial():
            parts *= mesh.size(axis)
    return stage // parts


@torch.no_grad()
def clip(weights: Iterable[nn.Parameter], limit: float, layout: Layout, copies: set[nn.Parameter]) -> float:
    """Scale all gradients so that their norm over all ranks and stages is at most `limit`; returns the norm
    before.

    `copies` are weights that another stage holds and counts too. Every rank gets the same number.
    """
    gradients = [(weight, weight.grad) for weight in weights if weight.grad is not None]
    squares = torch.zeros((), dtype=torch.float64)
    if gradients:
        norms = torch._foreach_norm([local(gradient) for _, gradient in gradients])
        shares = [
            0.0 if weight in copies else 1.0 / holders(gradient, layout) for weight, gradient in gradients
        ]
        found = torch.stack([norm.float() for norm in norms]).cpu().double()
        squares = (found.square() * torch.tensor(shares, dtype=torch.float64)).sum()
    norm = float(layout.total(squares.unsqueeze(0))[0].sqrt())
    factor = limit / (norm + 1e-6)
    if factor < 1:
        torch._foreach_mul_([local(gradient) for _, gradient in gradients], factor)
    return norm


@torch.no_grad()
def settle(weights: Iterable[nn.Parameter]) -> None:
    """Have gradients split as their weights are: those of an embedding come as parts of a sum."""
    for weight in weights:
        own: Any = weight
        gradient: Any = weight.grad
        both = isinstance(gradient, DTensor) and isinstance(own, DTensor)
        if both and gradient.placements != own.placements:
            weight.grad = gradient.redistribute(placements=own.placements)


@torch.no_grad()
def add_up(weights: Iterable[nn.Parameter], group: dist.ProcessGroup) -> None:
    """The gradients of weights that each rank of a group has used on its own part of the work: their sum."""
    for weight in weights:
        if weight.grad is not None:
            dist.all_reduce(local(weight.grad), group=group)


@torch.no_grad()
def add_up_tied(weight: nn.Parameter, group: dist.ProcessGroup) -> None:
    """The gradient of a weight that is embedding on the first stage and head on the last: the sum of both."""
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    gradient = local(weight.grad)
    dist.all_reduce(gradient, group=group)
