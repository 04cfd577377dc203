"""From a whole model, or its frame, to what trains it in a layout, with its optimiser, new or from a
checkpoint of any layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.tensor import DTensor

from workbench.training import checkpoint
from workbench.training.agreement import together
from workbench.training.optimizer import adamw, groups_of
from workbench.training.parallel import sharded_checkpoint
from workbench.training.parallel.parts import Source
from workbench.training.parallel.split import split
from workbench.training.parallel.stepper import PlainStepper, Stepper

if TYPE_CHECKING:
    from accelerate.optimizer import AcceleratedOptimizer

    from workbench.objectives import Objective
    from workbench.recipe import Recipe
    from workbench.training.parallel.layout import Layout


class Split:
    """A model that is split now, and its optimiser. `ready` gives what the loop works with."""

    def __init__(self, model: Any, objective: Objective, layout: Layout, recipe: Recipe, length: int) -> None:
        section = recipe.training
        self.model, self.objective, self.layout = model, objective, layout
        self.has_adapters = recipe.tuning.is_adapter
        groups = groups_of(model, section)
        names = {id(weight): name for name, weight in model.named_parameters()}
        # As a whole model's optimiser counts them.
        self.order = [names[id(weight)] for group in groups for weight in group["params"]]
        self.stepper: Stepper | None = None
        if not layout.is_plain:
            self.stepper = split(model, objective, layout, recipe, length)
            groups = _by_mesh(groups_of(self.stepper.module, section))
        self.optimizer = adamw(groups, section)

    def restore_from(self, found: checkpoint.Checkpoint, *, in_parts: bool) -> Callable[[], None] | None:
        """What puts the optimiser's state back, and the weights where the checkpoint is in parts; None where
        nothing here is."""
        weights: dict[str, Any] = dict(self.model.named_parameters())
        buffers = {} if self.stepper is None else self.stepper.buffers()
        if self.stepper is not None:
            weights = self.stepper.weights
        if in_parts:
            # Of adapters only what learns is stored.
            complete = not self.has_adapters
            return lambda: sharded_checkpoint.load(
                found.path, {**weights, **buffers}, self.optimizer, complete=complete
            )
        if self.stepper is None:
            return None
        layout = self.layout

        def send() -> None:
            is_main = layout.accelerator.is_main_process
            states = together(found.optimizer_state if is_main else lambda: None, layout.accelerator)
            flat = None if states is None else Source.of(states)
            sharded_checkpoint.from_plain(self.optimizer, weights, self.order, flat, layout)

        return send

    def ready(self) -> tuple[Stepper, AcceleratedOptimizer | torch.optim.Optimizer]:
        """What does the steps, and the optimiser as the loop calls it."""
        if self.stepper is not None:
            return self.stepper, self.optimizer
        wrapped, prepared = self.layout.accelerator.prepare(self.model, self.optimizer)
        return PlainStepper(self.model, wrapped, self.objective, self.layout), prepared


def _by_mesh(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups of weights that are split alike: what an optimiser does to many at once it cannot do to a
    mixture."""
    found: list[dict[str, Any]] = []
    for group in groups:
        kinds: dict[Any, list[Any]] = {}
        for weight in group["params"]:
            kinds.setdefault(weight.device_mesh if isinstance(weight, DTensor) else None, []).append(weight)
        found += [{**group, "params": weights} for weights in kinds.values()]
    return found
