"""The model of a run, made, checked and made fast: by each process for itself, or, where it is going to be
split, by one for all.

A model that is split may be larger than a machine that holds it once for each of its processes. So only the
main process makes it; the others get its frame (`workbench.models.frame`), and after the split their parts
(`parallel.parts`). What is found out by trying the model the main process finds out for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch

from workbench.errors import WorkbenchError
from workbench.models.fast_products import use_fast_products
from workbench.models.frame import Frame, lent_weights, pack, take_weights, unpack
from workbench.models.fused_layers import fuse_layers
from workbench.training import random_state
from workbench.training.agreement import from_main, together
from workbench.training.gradient_checkpointing import enable_checkpointing
from workbench.training.parallel.parts import Source, send_weights

if TYPE_CHECKING:
    from torch import nn

    from workbench.objectives import Objective
    from workbench.recipe import Recipe
    from workbench.training.parallel.layout import Layout
    from workbench.training.parallel.stepper import Stepper


@dataclass
class Made:
    """A model on its way to being trained: made, then checked, then split, then filled.

    `has_frames`: all processes but the main one have frames, and that one too once the model is checked;
    `weights` are then the whole ones, on the main process, and `is_awaited` says whether there are any.
    """

    model: Any
    recipe: Recipe
    layout: Layout
    whole: Callable[[], nn.Module]
    has_frames: bool = False
    weights: Source | None = None
    is_awaited: bool = False

    def check(self, objective: Objective) -> None:
        """Have an objective check the model, and make it fast. All processes call this; where one finds
        something wrong all end."""
        if self.layout.is_plain or not self.has_frames:
            self._together(lambda: self._check_own(objective))
            return
        is_main = self.layout.accelerator.is_main_process
        found = self._together(lambda: self._check_for_all(objective) if is_main else None)
        told: _Found = from_main(found, self.layout.accelerator)
        if not is_main:
            self._together(lambda: self._follow(objective, told))
        else:
            self._together(lambda: None)
        self.is_awaited = told.is_awaited
        # All have drawn what the main process has.
        random_state.restore(told.random)

    def hand_out(self, stepper: Stepper | None) -> None:
        """Give all processes their parts of the weights, once the model is split; all call it."""
        if self.is_awaited:
            assert stepper is not None
            send_weights(self.weights, dict(stepper.weights), self.layout)
            self.weights, self.is_awaited = None, False

    def _check_own(self, objective: Objective) -> None:
        objective.check(self.model)
        speed_up(self.model, self.recipe, self.layout, {})

    def _check_for_all(self, objective: Objective) -> _Found:
        if not _has_weights(self.model) and not _passes_with_lent(self.model, objective):
            self.model = self.whole()
        if _has_weights(self.model):
            objective.check(self.model)
        found = _Found(objective.found())
        speed_up(self.model, self.recipe, self.layout, found.fused)
        if _has_weights(self.model):
            self.weights, found.is_awaited = Source.of(take_weights(self.model)), True
        found.random = random_state.capture()
        # Other devices have numbers of their own.
        found.random.pop("cuda", None)
        return found

    def _follow(self, objective: Objective, told: _Found) -> None:
        objective.adopt(self.model, told.found)
        speed_up(self.model, self.recipe, self.layout, dict(told.fused))

    def _together(self, work: Callable[[], Any]) -> Any:
        return _all(work, self.recipe, self.layout)


@dataclass
class _Found:
    """What the main process tells the others of a model that it has tried."""

    found: dict[str, Any]
    fused: dict[type, bool] = field(default_factory=dict)
    is_awaited: bool = False
    random: dict[str, torch.Tensor] = field(default_factory=dict)


def make(
    whole: Callable[[], nn.Module],
    frame: Callable[[], nn.Module | None] | None,
    recipe: Recipe,
    layout: Layout,
) -> Made:
    """The model of a run. `whole` makes it; `frame`, where every weight comes from elsewhere, makes it
    without weights, or says None where it cannot. All processes call this; where one fails all end."""
    if layout.is_plain:
        return Made(whole(), recipe, layout, whole)
    is_main = layout.accelerator.is_main_process
    first = _all(lambda: _first(whole, frame) if is_main else None, recipe, layout)
    packed: Frame | str = from_main(None if first is None else first[1], layout.accelerator)
    if isinstance(packed, str):
        if is_main:
            print(f"memory     each process holds the whole model until it is split: {packed}", flush=True)
        model = _all(lambda: whole() if first is None else first[0], recipe, layout)
        return Made(model, recipe, layout, whole)
    model = _all(lambda: unpack(packed) if first is None else first[0], recipe, layout)
    return Made(model, recipe, layout, whole, has_frames=True)


def _first(
    whole: Callable[[], nn.Module], frame: Callable[[], nn.Module | None] | None
) -> tuple[nn.Module, Frame | str]:
    """The main process's model, and what the others make theirs from."""
    model = None if frame is None else frame()
    packed = "" if model is None else pack(model)
    if model is None or isinstance(packed, str):
        model = whole()
        packed = pack(model)
    return model, packed


def _all(work: Callable[[], Any], recipe: Recipe, layout: Layout) -> Any:
    """See `together`; to read a model takes as long as it takes."""
    if layout.is_plain:
        return work()
    return together(work, layout.accelerator, usual=timedelta(seconds=recipe.launch.ddp_timeout))


def _has_weights(model: nn.Module) -> bool:
    return not any(weight.is_meta for weight in model.parameters())


def _passes_with_lent(model: nn.Module, objective: Objective) -> bool:
    """Whether a model without weights could be checked with some that were lent to it, and is as it should
    be. Raises `ModelError` where it is not."""
    try:
        with lent_weights(model):
            objective.check(model)
    except WorkbenchError:
        raise
    except Exception:
        # Such as a module that reads the weights of another: they have to be there.
        return False
    return True


def speed_up(model: Any, recipe: Recipe, layout: Layout, fused: dict[type, bool]) -> None:
    """What is done to a model that is as it should be; `fused` is what is known of kinds of layers, and is
    added to."""
    accelerator = layout.accelerator
    if recipe.training.gradient_checkpointing:
        enable_checkpointing(model)
    if recipe.training.torch_compile:
        model.compile()
    if layout.is_plain:
        # What is split goes there in parts.
        model.to(accelerator.device)
    # A matrix that is shared, or a row, takes exchanges inside a layer.
    inside = layout.degrees.tp * layout.degrees.cp > 1
    if not recipe.training.torch_compile and not inside and accelerator.device.type == "cpu":
        count = fuse_layers(model, fused)
        if accelerator.is_main_process and count:
            print(f"layers     {count}, each computed by one operator", flush=True)
        use_fast_products(model)
