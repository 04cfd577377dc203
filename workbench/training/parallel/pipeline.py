"""Pipeline parallelism: the layers of a decoder in stages (Narayanan et al. 2021), and each stage's
computation.

A stage is the model itself with its own layers only, so that masks, rotary positions and whatever else an
architecture does are its own. Where the parts are is transformers' plan (`base_model_pp_plan`). The last
stage computes the loss inside its forward: what leaves a stage is hidden states [rows, T, H] or the sums of
the loss.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from workbench.errors import ModelError
from workbench.training.parallel.facade import Facade

if TYPE_CHECKING:
    from workbench.objectives import Batch, LossOutput, Objective

LAYERS = "layers"


@dataclass(frozen=True)
class Parts:
    """The names of the parts of a base model: before the layers, and behind them."""

    before: tuple[str, ...]
    behind: tuple[str, ...]


def parts_of(model: Any) -> Parts:
    """Where a model can be cut. Raises `ModelError` where transformers has no plan for it."""
    plan = list(getattr(model.config, "base_model_pp_plan", None) or {})
    if LAYERS not in plan or model.get_output_embeddings() is None:
        raise ModelError(
            f"{type(model).__name__} has no plan for a pipeline: one is for decoders that can be cut",
            where="parallel.pp",
            hint="parallel.dp_shard splits any model",
        )
    place = plan.index(LAYERS)
    return Parts(tuple(plan[:place]), tuple(plan[place + 1 :]))


def spans(layers: int, stages: int) -> list[range]:
    """The layers of each stage: as equal as can be, the last stages, which also have the head, the
    shorter."""
    size, more = divmod(layers, stages)
    sizes = [size + (stage < more) for stage in range(stages)]
    starts = [sum(sizes[:stage]) for stage in range(stages)]
    return [range(start, start + length) for start, length in zip(starts, sizes, strict=True)]


class Stage(nn.Module):
    """One stage of a pipeline; `layers` are those of the whole model that it has."""

    def __init__(self, model: Any, index: int, count: int, layers: range) -> None:
        super().__init__()
        self.index, self.count, self.layers = index, count, layers
        self.model = model
        self.found: list[LossOutput] = []
        self.autocast: Callable[[], Any] = contextlib.nullcontext
        self.aliases: dict[str, str] = {}
        """Names of weights that are another's in the whole model: a head's that is the embedding's."""

    @property
    def is_first(self) -> bool:
        return self.index == 0

    @property
    def is_last(self) -> bool:
        return self.index == self.count - 1

    @property
    def base(self) -> Any:
        """The model without its head."""
        return getattr(self.model, self.model.base_model_prefix)

    def whole_name(self, name: str) -> str:
        """The name in the whole model of a weight of this stage."""
        inner = name.removeprefix("model.")
        start = f"{self.model.base_model_prefix}.{LAYERS}."
        if inner.startswith(start):
            number, _, rest = inner.removeprefix(start).partition(".")
            return f"{start}{int(number) + self.layers.start}.{rest}"
        return self.aliases.get(inner, inner)

    def forward(
        self,
        given: Tensor,
        *,
        tensors: dict[str, Tensor],
        objective: Objective | None = None,
        batch: Batch | None = None,
        extra: dict[str, Any] | None = None,
    ) -> Tensor:
        """Of ids [rows, T] or hidden states [rows, T, H]: the next hidden states, or, on the last stage, the
        sums of `objective`'s loss, or without one the logits [rows, T, V] that come behind."""
        extra = extra or {}
        with self.autocast():
            if not self.is_last:
                name = "input_ids" if self.is_first else "inputs_embeds"
                said = self.base(
                    **{name: given}, position_ids=tensors.get("position_ids"), use_cache=False, **extra
                )
                hidden: Tensor = said.last_hidden_state
                return hidden
            changes = extra if self.is_first else {**extra, "inputs_embeds": given, "input_ids": None}
            facade = Facade(self.model, changes)
            if objective is None or batch is None:
                logits: Tensor = facade(
                    input_ids=given, position_ids=tensors.get("position_ids"), use_cache=False
                ).logits
                return logits
            output: LossOutput = objective.loss(facade, tensors, batch)  # type: ignore[arg-type]
            self.found.append(replace(output, sums=output.sums.detach()))
            return output.sums


def cut(model: Any, number_of: range, count: int) -> list[Stage]:
    """The stages `number_of` of `count`, made of a whole model, whose other parts are let go."""
    parts = parts_of(model)
    base = getattr(model, model.base_model_prefix)
    layers = list(getattr(base, LAYERS))
    every = spans(len(layers), count)
    stages = []
    for index in number_of:
        # The first stage made takes the model's own small parts, the others theirs: rotary positions and
        # such.
        own = _hollow(model, parts)
        inner = getattr(own, own.base_model_prefix)
        setattr(inner, LAYERS, nn.ModuleList(layers[n] for n in every[index]))
        if index == 0:
            for name in parts.before:
                setattr(inner, name, getattr(base, name))
        if index == count - 1:
            for name in parts.behind:
                setattr(inner, name, getattr(base, name))
            own.set_output_embeddings(model.get_output_embeddings())
        _shorten(own, every[index])
        stages.append(Stage(own, index, count, every[index]))
    # What no stage here has is let go of: the whole model keeps nothing but its configuration.
    for name in (*parts.before, LAYERS, *parts.behind):
        setattr(base, name, nn.Identity())
    model.set_output_embeddings(nn.Identity())
    return stages


def _hollow(model: Any, parts: Parts) -> Any:
    """A copy of a model without what stages have of their own; what they share is copied too."""
    base = getattr(model, model.base_model_prefix)
    kept = {name: getattr(base, name) for name in (*parts.before, LAYERS, *parts.behind)}
    head = model.get_output_embeddings()
    try:
        for name in kept:
            setattr(base, name, nn.Identity())
        model.set_output_embeddings(nn.Identity())
        return copy.deepcopy(model)
    finally:
        for name, module in kept.items():
            setattr(base, name, module)
        model.set_output_embeddings(head)


def _shorten(model: Any, layers: range) -> None:
    """The configuration says what is there: forwards count layers, and read the kind of each."""
    config = model.config
    config.num_hidden_layers = len(layers)
    kinds = getattr(config, "layer_types", None)
    # Of some it follows from their number.
    if kinds is not None and not isinstance(getattr(type(config), "layer_types", None), property):
        config.layer_types = [kinds[n] for n in layers]
    getattr(model, model.base_model_prefix).config = config
