"""What the training loop asks of a model, however it is split: forward and backward of a step, losses,
clipping."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch import nn

from workbench.training.parallel import gradients
from workbench.training.parallel.context import Share, no_mask
from workbench.training.parallel.facade import Facade
from workbench.training.parallel.widths import rounded, widened, width_of
from workbench.training.tally import Tally

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.objectives import Batch, LossOutput, Objective
    from workbench.training.parallel.layout import Layout


class Stepper(ABC):
    """One process's part of a model in training."""

    def __init__(self, objective: Objective, layout: Layout) -> None:
        self.objective, self.layout = objective, layout
        self.accelerator = layout.accelerator
        self.summed: list[nn.Parameter] = []
        """Weights whose gradients are to be added up over the ranks of tp: see `tensor.add_up_gradients`."""

    @property
    @abstractmethod
    def module(self) -> nn.Module:
        """All weights that this process has."""

    @property
    @abstractmethod
    def weights(self) -> dict[str, nn.Parameter]:
        """Those weights by their names in the whole model; where they are sharded, the shards, also while the
        module holds gathered ones."""

    def buffers(self) -> dict[str, Tensor]:
        """What else is saved with the weights, by name."""
        return persistent_buffers(self.module)

    @abstractmethod
    def backward(self, batches: Sequence[Batch], scale: Tensor) -> Tally:
        """Forward and backward of a step's micro-batches, the sums of the loss times `scale` [terms]:
        gradients are there afterwards, averaged over processes. What was added up: this process's share of
        it."""

    @abstractmethod
    def losses(self, batch: Batch) -> LossOutput | None:
        """The loss of a batch, without gradient; None where another stage has it. All processes that share
        rows call it together, and, where weights are sharded, as often as all others."""

    @contextlib.contextmanager
    def whole(self) -> Iterator[nn.Module]:
        """The model as something to call and to generate with, on all processes at once."""
        yield self.module

    def clip(self, limit: float) -> float:
        """Scale the gradients to a norm of at most `limit`; the norm before."""
        return gradients.clip(self.weights.values(), limit, self.layout, set())

    def settle(self) -> None:
        """Have gradients as they are to be, once a backward pass is over."""
        gradients.settle(self.weights.values())
        if self.summed:
            gradients.add_up(self.summed, self.layout.group("tp"))

    def share(self, tally: Tally) -> Tally:
        """What this process speaks for, so that sums over all processes count everything once."""
        terms = len(tally.terms)
        if not self.layout.counts_losses:
            tally.values[:terms] = 0.0
            tally.values[2 * terms : tally.sums] = 0.0
        if not self.layout.counts_rows:
            tally.values[terms : 2 * terms] = 0.0
        return tally


class PlainStepper(Stepper):
    """All of the model in each process: alone, or under Accelerate's data parallelism."""

    def __init__(self, model: nn.Module, wrapped: nn.Module, objective: Objective, layout: Layout) -> None:
        super().__init__(objective, layout)
        self.model, self.wrapped = model, wrapped

    @property
    def module(self) -> nn.Module:
        return self.model

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        return dict(self.model.named_parameters())

    def backward(self, batches: Sequence[Batch], scale: Tensor) -> Tally:
        tally = Tally(self.objective)
        for number, batch in enumerate(batches):
            last = number == len(batches) - 1
            # Gradients are exchanged once, with the last micro-batch.
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.wrapped):
                tensors = self.objective.tensors(batch, self.layout.device)
                with self.accelerator.autocast():
                    output = self.objective.loss(self.wrapped, tensors, batch)
                self.accelerator.backward((output.sums * scale).sum())
            tally.add(output, batch.counts)
        return tally

    def losses(self, batch: Batch) -> LossOutput:
        tensors = self.objective.tensors(batch, self.layout.device)
        # The bare module: DDP's forward would exchange buffers, and processes may have unequal shares.
        with self.accelerator.autocast():
            return self.objective.loss(self.model, tensors, batch)

    def clip(self, limit: float) -> float:
        return float(self.accelerator.clip_grad_norm_(self.wrapped.parameters(), limit))


class ShardedStepper(Stepper):
    """A model whose weights are sharded, cut or both (FSDP2, tensor parallel), and whose rows may be (context
    parallel)."""

    def __init__(self, model: Any, objective: Objective, layout: Layout) -> None:
        super().__init__(objective, layout)
        self.model = model
        if layout.degrees.dp_replicate * layout.degrees.shard_size > 1:
            # What is generated on all ranks goes on until all have ended: they gather weights together.
            base = model.get_base_model() if hasattr(model, "get_base_model") else model
            base._is_fsdp_managed_module = True
        self._weights: dict[str, nn.Parameter] = dict(model.named_parameters())

    @property
    def module(self) -> nn.Module:
        module: nn.Module = self.model
        return module

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        return self._weights

    def backward(self, batches: Sequence[Batch], scale: Tensor) -> Tally:
        tally = Tally(self.objective)
        # The gradients of each micro-batch are shared at once: whole ones take the memory that sharding
        # saves.
        # What copies of the shards add up, they do once.
        exchanges = getattr(self.model, "set_requires_all_reduce", None)
        for number, batch in enumerate(batches):
            if exchanges is not None:
                exchanges(number == len(batches) - 1)
            output = self._loss(batch)
            (output.sums * scale).sum().backward()
            tally.add(output, batch.counts)
        self.settle()
        return self.share(tally)

    def losses(self, batch: Batch) -> LossOutput:
        return self._loss(batch)

    def _loss(self, batch: Batch) -> LossOutput:
        model, tensors = self.model, None
        if self.layout.degrees.cp > 1:
            model, tensors = context_parallel(self.model, batch, self.objective, self.layout)
        else:
            tensors = self.objective.tensors(batch, self.layout.device)
        with self.accelerator.autocast():
            return self.objective.loss(model, tensors, batch)


def persistent_buffers(module: nn.Module) -> dict[str, Tensor]:
    """The buffers that a state dict has."""
    found = {}
    for prefix, part in module.named_modules(remove_duplicate=True):
        for name, tensor in part.named_buffers(recurse=False):
            if name not in part._non_persistent_buffers_set:
                found[f"{prefix}.{name}" if prefix else name] = tensor
    return found


def context_parallel(
    model: Any, batch: Batch, objective: Objective, layout: Layout
) -> tuple[Any, dict[str, Tensor]]:
    """This rank's part of the rows of a batch, and the model as it computes that."""
    assert layout.cp_group is not None
    width = rounded(width_of([batch]), 2 * layout.degrees.cp)
    wide, group = widened(batch, width), layout.cp_group
    tensors = objective.tensors(wide, layout.device)
    positions = wide.arrays["position_ids"]
    share = Share.of(group, dist.get_rank(group), dist.get_world_size(group), positions, layout.device)
    changes = {"context_share": share, "attention_mask": no_mask(layout.device)}
    return Facade(model, changes), {name: share.take(tensor) for name, tensor in tensors.items()}
