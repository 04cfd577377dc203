"""From one process's whole tensors to the parts of all: memory for what a frame has, and sending.

The main process sends one tensor after another to all others, each of which keeps its part: none of them
holds more than its own and one whole tensor at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from workbench.models.frame import replace_weights
from workbench.training.agreement import from_main

if TYPE_CHECKING:
    from workbench.training.parallel.layout import Layout


@dataclass(frozen=True)
class Source:
    """Whole tensors of the main process: the shape and kind of each, by name, and what gives it, once."""

    shapes: dict[str, tuple[torch.Size, torch.dtype]]
    take: Callable[[str], Tensor]

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> Source:
        """Those of a mapping, which lets go of each that is taken."""
        shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
        return cls(shapes, tensors.pop)


def give_memory(module: nn.Module, device: torch.device) -> None:
    """Have a model that is split on `device`: where it is a frame, with memory for its own parts of the
    weights, whose values are yet to come."""
    if any(weight.is_meta for weight in module.parameters()):
        replace_weights(module, lambda weight: torch.empty_like(weight, device=device))
    module.to(device)


@torch.no_grad()
def send(source: Source | None, accept: Callable[[str, Tensor], None], layout: Layout) -> None:
    """Call `accept` with each tensor of the main process's `source`, whole and on this process's device, on
    all processes: it has to copy what it keeps. All call this."""
    shapes = from_main(None if source is None else source.shapes, layout.accelerator)
    for name, (shape, kind) in shapes.items():
        if source is not None:
            whole = source.take(name).to(layout.device).contiguous()
        else:
            whole = torch.empty(shape, dtype=kind, device=layout.device)
        if whole.numel():
            dist.broadcast(whole, src=0)
        accept(name, whole)


@torch.no_grad()
def put(place: Tensor, whole: Tensor) -> None:
    """Copy into a weight, a buffer or a state, which may be split, its part of a whole tensor."""
    place.copy_(part_of(place, whole))


def part_of(place: Tensor, whole: Tensor) -> Tensor:
    """A whole tensor, which all ranks have, split and placed as `place` is; may share its memory."""
    if not isinstance(place, DTensor):
        return whole
    found: Any = distribute_tensor(
        whole.to(place.device), place.device_mesh, place.placements, src_data_rank=None
    )
    split: Tensor = found
    return split


def send_weights(source: Source | None, places: dict[str, Tensor], layout: Layout) -> None:
    """Fill the weights and buffers `places` of this process, by their names in the whole model, with what the
    main process sends. All processes call it."""
    left = set(places)

    def accept(name: str, whole: Tensor) -> None:
        if name in places:
            put(places[name], whole)
            left.discard(name)

    send(source, accept, layout)
    assert not left, f"no values for {sorted(left)[:3]}"
