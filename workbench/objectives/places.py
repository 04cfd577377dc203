"""Heads that are made to do otherwise for a while: logits only at some places, or something else instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import nn


def bare(model: nn.Module) -> Any:
    """What a wrapper for several processes holds."""
    return getattr(model, "module", model)


@contextmanager
def only_at(head: nn.Module, places: torch.Tensor, length: int | None = None) -> Iterator[None]:
    """Within, the head sees the hidden states at `places` [N] of the flattened batch: [N, H]; of each row's
    last `length` positions, if given: virtual tokens stand before them.

    At 15 % of the places, logits for all of them would take seven times the memory, more than all else in
    a small model. A hook, not a call of the parts: the model's own forward is what several processes
    exchange gradients by, and what torch.compile replaced.
    """

    def gather(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        states = inputs[0] if length is None else inputs[0][:, -length:]
        return (states.flatten(0, 1)[places], *inputs[1:])

    # First of all: behind it, a head that is shared among ranks makes something else of its input.
    handle = head.register_forward_pre_hook(gather, prepend=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def instead(head: nn.Module, forward: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """Within, a head computes `forward` of the hidden states [B, T, H]; afterwards what it did before, be
    that its class's own or another that it was given (see `use_fast_products`)."""
    before = vars(head).get("forward")
    head.forward = forward
    try:
        yield
    finally:
        if before is None:
            del head.forward
        else:
            head.forward = before
