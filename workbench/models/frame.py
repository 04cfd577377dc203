"""The frame of a model: all of it but its weights, so that a process can have a model that it has no room
for.

A frame's parameters are on torch's meta device, where they have shapes and no numbers. Everything else is as
in the whole model: buffers, also those that are saved nowhere, tensors that are plain attributes, which
weights are one, configuration, adapters, what was put in the place of a forward pass.
"""

from __future__ import annotations

import contextlib
import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

REMOTE = "transformers_modules"
"""The package of classes that came with a model, which other machines may not have."""


@dataclass(frozen=True)
class Frame:
    """A model without its weights, in bytes. `weights` are their shapes, kinds, and whether they learn."""

    content: bytes
    weights: list[tuple[torch.Size, torch.dtype, bool]]


def pack(model: nn.Module) -> Frame | str:
    """The frame of a model for other processes, or why it cannot be sent. The model stays as it is."""
    for part in model.modules():
        if type(part).__module__.split(".")[0] == REMOTE:
            return f"{type(model).__name__} comes with Python code of its own"
    content = io.BytesIO()
    packer = _Packer(content)
    try:
        packer.dump(model)
        frame = Frame(content.getvalue(), packer.weights)
        # What is bound to an object by a name that it does not have shows only now.
        unpack(frame)
    except (pickle.PicklingError, AttributeError, TypeError, ValueError) as error:
        return f"{type(model).__name__} cannot be sent: {str(error).splitlines()[0][:200]}"
    return frame


def unpack(frame: Frame) -> nn.Module:
    """The model of a frame, its parameters on the meta device. Only what another process of the same run has
    packed may be given here: unpacking can run any code."""
    model: nn.Module = _Unpacker(frame).load()
    return model


class _Packer(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.weights: list[tuple[torch.Size, torch.dtype, bool]] = []
        self._numbers: dict[int, int] = {}

    def persistent_id(self, thing: Any) -> int | None:
        """The number of a weight, which is not written; None for all else."""
        if not isinstance(thing, nn.Parameter):
            return None
        if type(thing) is not nn.Parameter:
            raise TypeError(f"its weights are of a kind of their own ({type(thing).__name__})")
        if id(thing) not in self._numbers:
            self._numbers[id(thing)] = len(self.weights)
            self.weights.append((thing.shape, thing.dtype, thing.requires_grad))
        return self._numbers[id(thing)]


class _Unpacker(pickle.Unpickler):
    def __init__(self, frame: Frame) -> None:
        super().__init__(io.BytesIO(frame.content))
        self.weights = [
            nn.Parameter(torch.empty(shape, dtype=kind, device="meta"), requires_grad=learns)
            for shape, kind, learns in frame.weights
        ]

    def persistent_load(self, number: Any) -> nn.Parameter:
        """The weight of a number."""
        weight: nn.Parameter = self.weights[number]
        return weight


def device_of(model: Any) -> torch.device:
    """Where a model computes: with weights that are lent to it, on the CPU."""
    device: torch.device = model.device
    return torch.device("cpu") if device.type == "meta" else device


def take_weights(model: nn.Module) -> dict[str, Tensor]:
    """Make a model its own frame, in place; its weights by name, one that stands in several places once."""
    taken = {name: weight.data for name, weight in model.named_parameters()}
    replace_weights(model, lambda weight: weight.detach().to("meta"))
    return taken


def replace_weights(model: nn.Module, made: Callable[[nn.Parameter], Tensor]) -> None:
    """Put a new weight in the place of each: what `made` makes of it. Those that are one stay one."""
    known: dict[int, tuple[nn.Parameter, nn.Parameter]] = {}
    for part in model.modules():
        for name, weight in part._parameters.items():
            if weight is None:
                continue
            if id(weight) not in known:
                # Kept as long as its number is asked for.
                known[id(weight)] = weight, nn.Parameter(made(weight), requires_grad=weight.requires_grad)
            part._parameters[name] = known[id(weight)][1]


@contextlib.contextmanager
def without_weights() -> Iterator[None]:
    """Models that are made within are frames from the start: each weight has memory for a moment only."""
    register = nn.Module.register_parameter

    def on_meta(module: nn.Module, name: str, weight: nn.Parameter | None) -> None:
        if weight is not None and not weight.is_meta:
            weight = nn.Parameter(weight.detach().to("meta"), requires_grad=weight.requires_grad)
        register(module, name, weight)

    nn.Module.register_parameter = on_meta  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


@contextlib.contextmanager
def lent_weights(model: nn.Module) -> Iterator[None]:
    """Within, each module of a frame has random weights while its forward is at work, the same every time:
    enough to see what follows from how a model computes. There is memory for one module's at a time."""
    numbers: dict[int, int] = {}
    for weight in model.parameters():
        numbers.setdefault(id(weight), len(numbers))
    borrowed: dict[int, list[tuple[dict[str, Any], str, Any]]] = {}

    def lend(module: nn.Module, given: Any) -> None:
        borrowed.setdefault(id(module), []).extend(_lend(module, numbers))

    def give_back(module: nn.Module, given: Any, output: Any) -> None:
        _give_back(borrowed.pop(id(module), []))

    hooks = []
    for module in model.modules():
        if module._parameters:
            hooks.append(module.register_forward_pre_hook(lend))
            hooks.append(module.register_forward_hook(give_back))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for left in borrowed.values():
            _give_back(left)


@contextlib.contextmanager
def drawn(module: nn.Module) -> Iterator[None]:
    """Within, a part of a frame has random weights, all of it at once; a part that has weights keeps them."""
    numbers = {id(weight): number for number, weight in enumerate(module.parameters())}
    borrowed = [entry for part in module.modules() for entry in _lend(part, numbers)]
    try:
        yield
    finally:
        _give_back(borrowed)


def _lend(module: nn.Module, numbers: dict[int, int]) -> list[tuple[dict[str, Any], str, Any]]:
    """Give a module's own weights numbers about as large as those of a trained one, so that what comes out is
    about as large too; what stood where before."""
    before: list[tuple[dict[str, Any], str, Any]] = []
    held: dict[str, Any] = module._parameters
    for name, weight in held.items():
        if weight is None or not weight.is_meta:
            continue
        generator = torch.Generator().manual_seed(numbers[id(weight)])
        values = torch.randn(weight.shape, generator=generator)
        values = values * weight.shape[-1] ** -0.5 if weight.ndim > 1 else 1 + values / 10
        before.append((held, name, weight))
        held[name] = nn.Parameter(values.to(weight.dtype), requires_grad=weight.requires_grad)
    return before


def _give_back(borrowed: list[tuple[dict[str, Any], str, Any]]) -> None:
    for held, name, weight in borrowed:
        held[name] = weight
