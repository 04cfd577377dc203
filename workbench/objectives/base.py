"""What the training loop asks of an objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn

    from workbench.objectives.beginning import Beginning
    from workbench.objectives.view import RowView
    from workbench.recipe import Recipe

TRAIN, EVAL = 0, 1
"""Sides of the split, as a part of what random draws follow from."""


@dataclass(frozen=True)
class Batch:
    """Rows as a model will see them.

    `arrays` [rows, …] become tensors; `counts` has the number of targets of each term of the loss;
    `num_tokens` counts what is not padding. `extra` stays on the CPU.
    """

    arrays: dict[str, NDArray[Any]]
    counts: tuple[int, ...]
    num_tokens: int
    extra: dict[str, Any] = field(default_factory=dict)


class Rows(Protocol):
    """Batches, addressed by the number of their first row through all epochs: there is no state to lose."""

    @property
    def length(self) -> int:
        """Tokens in a row, at most."""
        ...

    def rows_per_epoch(self, epoch: int) -> int:
        """How many rows an epoch has."""
        ...

    def batch(self, start: int, count: int) -> Batch:
        """`count` rows from global index `start` on, across the ends of epochs."""
        ...

    def report(self) -> dict[str, Any]:
        """The first epoch: `rows`, `tokens`, `padding`, `efficiency`, `cropped`."""
        ...


@dataclass
class LossOutput:
    """Sums, never means: the loop divides once, by the counts over all micro-batches and processes.

    `sums` [terms]: each term summed over its targets, in nats, with gradient; `stats` [stat_names]: what
    else is added up, without; `predictions`: one for each example, where a metric needs them all; `peaks`
    [peak_names]: what the greatest is kept of.
    """

    sums: torch.Tensor
    stats: torch.Tensor
    predictions: list[Any] = field(default_factory=list)
    peaks: torch.Tensor | None = None


@dataclass(frozen=True)
class Totals:
    """Everything added up over many batches and all processes, by name."""

    sums: Mapping[str, float]
    counts: Mapping[str, float]
    stats: Mapping[str, float]
    peaks: Mapping[str, float] = field(default_factory=dict)

    def mean(self, term: str) -> float:
        """The mean of one term over its targets."""
        return self.sums[term] / max(self.counts[term], 1)


class Objective(ABC):
    """A rule that turns text or records into rows, and a model's answer to them into a loss."""

    name: ClassVar[str]
    terms: tuple[str, ...]
    """The parts of the loss, each with its own number of targets."""
    stat_names: tuple[str, ...] = ()
    """What `LossOutput.stats` adds up."""
    peak_names: tuple[str, ...] = ()
    """What `LossOutput.peaks` has the greatest of."""

    def __init__(self, recipe: Recipe, tokenizer: Any) -> None:
        self.recipe, self.tokenizer = recipe, tokenizer

    @property
    def weights(self) -> tuple[float, ...]:
        """The weight of each term in the loss."""
        return (1.0,) * len(self.terms)

    @abstractmethod
    def rows(self, store: Any, length: int, *, training: bool) -> Rows:
        """The rows of one side of the split, of at most `length` tokens."""

    @abstractmethod
    def loss(self, model: nn.Module, tensors: dict[str, torch.Tensor], batch: Batch) -> LossOutput:
        """The summed loss of a batch."""

    @abstractmethod
    def metrics(self, totals: Totals, *, training: bool) -> dict[str, float]:
        """What is logged beside the loss; names as in training, the loop adds `eval_` where it belongs."""

    def score(self, predictions: Sequence[Any]) -> dict[str, float]:
        """Metrics of an evaluation that need all predictions at once."""
        return {}

    def report(self, predictions: Sequence[Any]) -> dict[str, Any] | None:
        """What a person may want to see of an evaluation beside its metrics: `kind` and plain values."""
        return None

    def before_saving(self, model: nn.Module) -> None:
        """Called on the main process before a checkpoint is written: what follows from the weights."""
        return None

    def extra_evaluation(
        self, model: nn.Module, rows: Rows, device: torch.device, num_rows: int
    ) -> dict[str, float]:
        """Metrics of an evaluation that need other passes through the model, on the main process."""
        return {}

    def check(self, model: nn.Module) -> None:
        """Raise `ModelError` when a model does not do what the rows rely on (isolation of documents)."""
        return None

    def found(self) -> dict[str, Any]:
        """What `check` has found out of a model, for processes that have no weights to try."""
        return {}

    def adopt(self, model: nn.Module, found: Mapping[str, Any]) -> None:
        """In the place of `check`, for a model without weights: take over what another process `found`."""
        return None

    def begin(self, start: Beginning) -> None:
        """Called once on every process, after `check`, when everything is ready for the first step."""
        return None

    def default_prompts(self, store: Any) -> list[str]:
        """What samples are made of when the recipe names no prompts."""
        return []

    @abstractmethod
    def view(self, batch: Batch) -> list[RowView]:
        """The rows of a batch for a person to inspect, from the arrays that the model gets."""

    @abstractmethod
    def sample(self, model: nn.Module, prompt: str) -> dict[str, Any]:
        """What the model makes of a prompt: `text`, and `prompt` where it was changed.

        Called with torch's generators seeded, in evaluation mode, without gradients.
        """

    def tensors(self, batch: Batch, device: torch.device) -> dict[str, torch.Tensor]:
        """The arrays of a batch on a device: integers as int64, floats as float32, booleans as they are."""
        return {name: to_tensor(array).to(device, non_blocking=True) for name, array in batch.arrays.items()}

    def loss_of(self, totals: Totals) -> float:
        """The weighted mean loss."""
        return sum(weight * totals.mean(term) for term, weight in zip(self.terms, self.weights, strict=True))


def to_tensor(array: NDArray[Any]) -> torch.Tensor:
    """An array in the precision that models take."""
    if array.dtype == np.bool_:
        return torch.from_numpy(array)
    return torch.as_tensor(array, dtype=torch.float32 if array.dtype.kind == "f" else torch.int64)
