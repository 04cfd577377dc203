"""From one process's whole tensors to the parts of all: memory for what a frame has, and sending.

The main process sends one tensor after another to all others, in pieces, each of which keeps what is of its
part: none of them holds more than its own and one piece at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate, distribute_tensor

from workbench.models.frame import replace_weights
from workbench.training.agreement import from_main

if TYPE_CHECKING:
    from workbench.training.parallel.layout import Layout


PIECE = 64 * 1024**2
"""Bytes that are sent at a time, unless a row of a matrix has more."""


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
def send(
    source: Source | None, place_of: Callable[[str, torch.Size, torch.dtype], Tensor | None], layout: Layout
) -> None:
    """Fill, on all processes, what `place_of` a name, a shape and a kind gives with this process's part of
    the main process's tensor of that name; None where it has none. All call this, `source` is the main
    one's."""
    shapes = from_main(None if source is None else source.shapes, layout.accelerator)
    for name, (shape, kind) in shapes.items():
        whole = None if source is None else source.take(name)
        place = place_of(name, shape, kind)
        own = None if place is None else _Own(place)
        rows = shape[0] if shape else 1
        step = max(1, PIECE * rows // max(1, shape.numel() * kind.itemsize))
        for start in range(0, rows if shape.numel() else 0, step):
            count = min(step, rows - start)
            if whole is not None:
                part = whole[start : start + count] if shape else whole
                piece = part.to(layout.device).contiguous()
            else:
                piece = torch.empty((count, *shape[1:]) if shape else (), dtype=kind, device=layout.device)
            dist.broadcast(piece, src=0)
            if own is not None:
                own.put(piece, start)


class _Own:
    """The part of a tensor that is here: for each of its dimensions the places in the whole one."""

    def __init__(self, place: Tensor) -> None:
        self.local = place.to_local() if isinstance(place, DTensor) else place
        self.places = [_places(place, dimension) for dimension in range(place.ndim)]

    def put(self, piece: Tensor, start: int) -> None:
        """Take what is needed of the rows of the whole tensor from `start` on."""
        if not self.places:
            self.local.copy_(piece)
            return
        rows = self.places[0]
        here = ((rows >= start) & (rows < start + len(piece))).nonzero()[:, 0]
        for dimension, wanted in enumerate([rows[here] - start, *self.places[1:]]):
            piece = _chosen(piece, dimension, wanted)
        first, count = (int(here[0]), len(here)) if len(here) else (0, 0)
        if count and int(here[-1]) - first + 1 == count:
            self.local[first : first + count].copy_(piece)
        elif count:
            self.local.index_copy_(0, here.to(self.local.device), piece.to(self.local.dtype))


def _places(place: Tensor, dimension: int) -> Tensor:
    """Where in a whole tensor this process's part of it lies along a dimension, as torch splits it."""
    every = torch.arange(place.shape[dimension])
    if not isinstance(place, DTensor):
        return every
    along = [placement if _cuts(placement, dimension) else Replicate() for placement in place.placements]
    if not any(_cuts(placement, dimension) for placement in along):
        return every
    local = place.to_local()
    others = [1 if other != dimension else size for other, size in enumerate(place.shape)]
    numbers = every.view(others).to(local.device)
    split: Any = distribute_tensor(numbers, place.device_mesh, along, src_data_rank=None)
    found: Tensor = split.to_local().flatten().cpu()
    return found


def _cuts(placement: Any, dimension: int) -> bool:
    # Shards in strides are of another class, but they too know which dimension they cut.
    return not placement.is_replicate() and getattr(placement, "dim", None) == dimension


def _chosen(piece: Tensor, dimension: int, wanted: Tensor) -> Tensor:
    """Some places of a tensor along a dimension; a view where they follow one another."""
    count = len(wanted)
    if count and int(wanted[-1]) - int(wanted[0]) + 1 == count:
        return piece.narrow(dimension, int(wanted[0]), count)
    return piece.index_select(dimension, wanted.to(piece.device))


def send_weights(source: Source | None, places: dict[str, Tensor], layout: Layout) -> None:
    """Fill the weights and buffers `places` of this process, by their names in the whole model, with what the
    main process sends. All processes call it."""
    left = set(places)

    def place_of(name: str, shape: torch.Size, kind: torch.dtype) -> Tensor | None:
        left.discard(name)
        return places.get(name)

    send(source, place_of, layout)
    assert not left, f"no values for {sorted(left)[:3]}"
