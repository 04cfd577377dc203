"""Gradients and updates by group of layers: where in a model something goes wrong.

Groups: `embedding`, the layers in thirds (`early`, `middle`, `late`; of an encoder and a decoder each its own
thirds), `norms`, `head`, and `other` (soft prompts, poolers). Weights shared by embedding and head are the
embedding's.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import torch

from workbench.training.parallel.gradients import holders, local

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from workbench.training.parallel.layout import Layout

GROUPS = ("embedding", "early", "middle", "late", "norms", "head", "other")
SAMPLE = 4096
"""Elements of a weight whose update is measured. The ratio of two norms over so many evenly spaced ones errs
by about a hundredth, and copying all would take the memory of the model once more."""
HEADS = ("lm_head", "classifier", "score", "qa_outputs", "cls", "generator_lm_head", "logits_proj")
"""What models call the last layers that are no output embeddings."""
NUMBER = re.compile(r"\.(\d+)\.")


def groups_of(
    module: Any, weights: Mapping[str, nn.Parameter], least_depth: int = 0
) -> dict[str, list[nn.Parameter]]:
    """Those of `weights` that learn, by group; groups without any are left out. `weights` go by their names
    in `module`, or in the whole model of which that is a part, with at least so many layers."""
    found = getattr(module, "get_output_embeddings", lambda: None)()
    head = set() if found is None else {id(weight) for weight in found.parameters()}
    learning = {name: weight for name, weight in weights.items() if weight.requires_grad}
    depth = _depths(list(learning))
    groups: dict[str, list[nn.Parameter]] = {name: [] for name in GROUPS}
    for name, weight in learning.items():
        owner = _owner(module, name)
        part = name.rpartition(".")[0].rpartition(".")[2].lower()
        if "Norm" in type(owner).__name__ or "norm" in part:
            group = "norms"
        elif isinstance(owner, torch.nn.Embedding) or (owner is None and "embed" in part):
            group = "embedding"
        elif place := NUMBER.search(name):
            layers = max(depth[name[: place.start()]], least_depth)
            group = ("early", "middle", "late")[min(2, 3 * int(place[1]) // layers)]
        elif id(weight) in head or any(part in HEADS for part in name.split(".")):
            group = "head"
        else:
            group = "other"
        groups[group].append(weight)
    return {name: own for name, own in groups.items() if own}


def _owner(module: Any, name: str) -> Any:
    """The module that a weight belongs to; None where only a part of the model is here."""
    try:
        return module.get_submodule(name.rpartition(".")[0])
    except AttributeError:
        return None


def _depths(names: list[str]) -> dict[str, int]:
    """How many layers each stack has, by what stands before the number in the names of its weights."""
    depth: dict[str, int] = {}
    for name in names:
        if place := NUMBER.search(name):
            stack = name[: place.start()]
            depth[stack] = max(depth.get(stack, 0), int(place[1]) + 1)
    return depth


class LayerMonitor:
    """Norms by group of one optimiser step: `before` it, then `after` it, then `values`; by all ranks of a
    split model together."""

    def __init__(
        self,
        module: Any,
        weights: Mapping[str, nn.Parameter],
        layout: Layout | None = None,
        depth: int = 0,
    ) -> None:
        """`depth` is how many layers the whole model has, of which a stage of a pipeline sees a few."""
        self.layout = None if layout is None or layout.is_plain else layout
        groups = groups_of(module, weights, 0 if self.layout is None else depth)
        self._weights = [weight for own in groups.values() for weight in own]
        self._group = torch.tensor(
            [GROUPS.index(name) for name, own in groups.items() for _ in own], dtype=torch.int64
        )
        self._before: list[torch.Tensor] = []
        self._gradients = torch.zeros(0, dtype=torch.float64)
        self._norms: dict[str, float] = {}
        self._ratios: dict[str, float] = {}

    @torch.no_grad()
    def before(self, clipped_by: float = 1.0) -> None:
        """Before the step, behind the clipping, which multiplied all gradients by `clipped_by`."""
        gradients = [weight.grad for weight in self._weights]
        self._gradients = _norms_of(gradients) / clipped_by
        self._before = [_sample(weight).clone() for weight in self._weights]

    @torch.no_grad()
    def after(self) -> None:
        """After it: ‖Δw‖/‖w‖ of each group, on the same elements."""
        pairs = list(zip(self._weights, self._before, strict=True))
        moved = _norms_of([_sample(weight) - old for weight, old in pairs])
        sizes = _norms_of([old for _, old in pairs])
        # Each weight counts by all its elements, not by those that were looked at; and by one rank's share.
        seen = [local(weight).numel() / max(1, old.numel()) for weight, old in pairs]
        share = [1.0 if self.layout is None else 1.0 / holders(weight, self.layout) for weight, _ in pairs]
        scale, shares = (torch.tensor(values, dtype=torch.float64) for values in (seen, share))
        squares = torch.zeros(3, len(GROUPS), dtype=torch.float64)
        for row, norms in enumerate((self._gradients, moved * scale.sqrt(), sizes * scale.sqrt())):
            squares[row].index_add_(0, self._group, norms.square() * shares)
        if self.layout is not None:
            squares = self.layout.total(squares.flatten()).view(3, -1)
        there = (squares[2] > 0).tolist()
        gradients = squares[0].sqrt().tolist()
        ratios = (squares[1] / squares[2]).sqrt().tolist()
        self._norms = {
            name: value for name, value, is_there in zip(GROUPS, gradients, there, strict=True) if is_there
        }
        self._ratios = {
            name: value for name, value, is_there in zip(GROUPS, ratios, there, strict=True) if is_there
        }
        self._before = []

    @property
    def values(self) -> dict[str, float]:
        """`grad_norm/GROUP` and `update_ratio/GROUP`, as the last step had them."""
        return {f"grad_norm/{name}": value for name, value in self._norms.items()} | {
            f"update_ratio/{name}": value for name, value in self._ratios.items()
        }

    @property
    def gradients(self) -> Mapping[str, float]:
        """Norm of the gradient by group."""
        return self._norms


def _sample(weight: torch.Tensor) -> torch.Tensor:
    """Evenly spaced elements of this rank's part of a weight, from all of its columns."""
    part = local(weight.detach())
    flat, width = part.reshape(-1), part.shape[-1] if part.dim() else 1
    stride = max(1, -(-flat.numel() // SAMPLE))
    # A stride that shares a factor with the width would meet the same few columns in every row.
    while math.gcd(stride, width) > 1:
        stride += 1
    return flat[::stride]


def _norms_of(tensors: Sequence[torch.Tensor | None]) -> torch.Tensor:
    """The norm of each tensor's part here, in one transfer; 0 for what has none."""
    found = torch.zeros(len(tensors), dtype=torch.float64)
    parts = [None if tensor is None else local(tensor) for tensor in tensors]
    there = {number: part for number, part in enumerate(parts) if part is not None and part.numel()}
    if there:
        norms = torch._foreach_norm(list(there.values()))
        found[list(there)] = torch.stack([norm.float() for norm in norms]).cpu().double()
    return found
