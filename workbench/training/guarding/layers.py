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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

GROUPS = ("embedding", "early", "middle", "late", "norms", "head", "other")
SAMPLE = 4096
"""Elements of a weight whose update is measured. The ratio of two norms over so many evenly spaced ones errs
by about a hundredth, and copying all would take the memory of the model once more."""
HEADS = ("lm_head", "classifier", "score", "qa_outputs", "cls", "generator_lm_head", "logits_proj")
"""What models call the last layers that are no output embeddings."""
NUMBER = re.compile(r"\.(\d+)\.")


def groups_of(module: Any, weights: Mapping[str, nn.Parameter]) -> dict[str, list[nn.Parameter]]:
    """Those of `weights` that learn, by group; groups without any are left out. `weights` go by their names
    in `module`, or in the whole model of which that is a part."""
    found = getattr(module, "get_output_embeddings", lambda: None)()
    head = set() if found is None else {id(weight) for weight in found.parameters()}
    learning = {name: weight for name, weight in weights.items() if weight.requires_grad}
    depth = _depths(list(learning))
    groups: dict[str, list[nn.Parameter]] = {name: [] for name in GROUPS}
    for name, weight in learning.items():
        owner = _owner(module, name)
        if "Norm" in type(owner).__name__ or "norm" in name.rpartition(".")[0].rpartition(".")[2].lower():
            group = "norms"
        elif isinstance(owner, torch.nn.Embedding):
            group = "embedding"
        elif place := NUMBER.search(name):
            layers = depth[name[: place.start()]]
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
    """Norms by group of one optimiser step: `before` it, then `after` it, then `values`."""

    def __init__(self, module: Any, weights: Mapping[str, nn.Parameter]) -> None:
        self.groups = groups_of(module, weights)
        self._weights = [weight for weights in self.groups.values() for weight in weights]
        self._before: list[torch.Tensor] = []
        self._norms: dict[str, float] = {}
        self._ratios: dict[str, float] = {}

    @torch.no_grad()
    def before(self, clipped_by: float = 1.0) -> None:
        """Before the step, behind the clipping, which multiplied all gradients by `clipped_by`."""
        norms = _norms_of([weight.grad for weight in self._weights])
        self._norms, start = {}, 0
        for name, weights in self.groups.items():
            own = norms[start : start + len(weights)]
            self._norms[name] = math.sqrt(sum(value * value for value in own)) / clipped_by
            start += len(weights)
        self._before = [_sample(weight).clone() for weight in self._weights]

    @torch.no_grad()
    def after(self) -> None:
        """After it: ‖Δw‖/‖w‖ of each group, on the same elements."""
        moved = [_sample(weight) - old for weight, old in zip(self._weights, self._before, strict=True)]
        # Each weight counts by all its elements, not by those that were looked at.
        scale = [
            weight.numel() / max(1, old.numel())
            for weight, old in zip(self._weights, self._before, strict=True)
        ]
        changes, sizes = _norms_of(moved), _norms_of(self._before)
        self._ratios, start = {}, 0
        for name, weights in self.groups.items():
            span = range(start, start + len(weights))
            change = sum(scale[index] * changes[index] ** 2 for index in span)
            size = sum(scale[index] * sizes[index] ** 2 for index in span)
            self._ratios[name] = math.sqrt(change / size) if size > 0 else 0.0
            start += len(weights)
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


def _local(tensor: torch.Tensor) -> torch.Tensor:
    """The part of a sharded weight that lies here; any other as it is."""
    own: Any = tensor
    return own.to_local() if hasattr(own, "to_local") else tensor


def _sample(weight: torch.Tensor) -> torch.Tensor:
    flat = _local(weight.detach()).reshape(-1)
    return flat[:: max(1, flat.numel() // SAMPLE)]


def _norms_of(tensors: Sequence[torch.Tensor | None]) -> list[float]:
    """The norm of each tensor, in one transfer; 0 for what has none."""
    norms: dict[int, torch.Tensor] = {}
    # Those that are split alike at once: a mixture cannot be taken together.
    alike: dict[Any, list[int]] = {}
    for index, tensor in enumerate(tensors):
        if tensor is not None and tensor.numel():
            alike.setdefault(getattr(tensor, "device_mesh", None), []).append(index)
    for indices in alike.values():
        of_these = torch._foreach_norm([x for x in (tensors[index] for index in indices) if x is not None])
        for index, norm in zip(indices, of_these, strict=True):
            norms[index] = getattr(norm, "full_tensor", lambda norm=norm: norm)().float()
    if not norms:
        return [0.0] * len(tensors)
    values = dict(zip(norms, torch.stack(list(norms.values())).tolist(), strict=True))
    return [values.get(index, 0.0) for index in range(len(tensors))]
