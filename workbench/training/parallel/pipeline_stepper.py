"""A step through a pipeline, by torch's schedules: 1F1B, interleaved 1F1B (Narayanan et al. 2021), GPipe."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe, ScheduleInterleaved1F1B

from workbench.objectives import Batch, LossOutput
from workbench.training.parallel import gradients
from workbench.training.parallel.generation import lockstep
from workbench.training.parallel.stepper import Stepper, context_parallel, persistent_buffers
from workbench.training.parallel.widths import parts, rounded, widened, width_of
from workbench.training.tally import Tally

if TYPE_CHECKING:
    from workbench.objectives import Objective
    from workbench.recipe.parallel_section import ParallelSection
    from workbench.training.parallel.layout import Layout
    from workbench.training.parallel.pipeline import Stage

WIDTH_STEP = 64
"""Rows are padded to a multiple of it: shapes are fixed in a schedule, and one is kept for each width."""
SCHEDULES: dict[str, Any] = {
    "1f1b": Schedule1F1B,
    "gpipe": ScheduleGPipe,
    "interleaved": ScheduleInterleaved1F1B,
}


class PipelineStepper(Stepper):
    """This rank's stages. `tied`: the group of the ranks that hold embedding and head of one weight, and that
    weight, on those ranks."""

    def __init__(
        self,
        stages: list[Stage],
        objective: Objective,
        layout: Layout,
        section: ParallelSection,
        *,
        hidden_size: int,
        wire: torch.dtype,
        most: int,
        tied: tuple[dist.ProcessGroup, nn.Parameter] | None,
    ) -> None:
        super().__init__(objective, layout)
        self.stages, self.section = stages, section
        self.hidden_size, self.wire, self.most, self.tied = hidden_size, wire, most, tied
        self.group = layout.group("pp")
        self._module = nn.ModuleList(stages)
        self._weights = {
            stage.whole_name(name): weight for stage in stages for name, weight in stage.named_parameters()
        }
        self._schedules: dict[tuple[int, int, int], Any] = {}
        self.scale = torch.empty(0)

    @property
    def module(self) -> nn.Module:
        return self._module

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        return self._weights

    def buffers(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for stage in self.stages:
            found |= {stage.whole_name(name): tensor for name, tensor in persistent_buffers(stage).items()}
        return found

    @property
    def last(self) -> Stage | None:
        """The last stage, where it is here."""
        return self.stages[-1] if self.stages[-1].is_last else None

    def backward(self, batches: Sequence[Batch], scale: Tensor) -> Tally:
        rows = sum(len(batch.arrays["input_ids"]) for batch in batches)
        small = parts(batches, self.section.microbatches(rows), self._width(width_of(batches)))
        tensors = [self._tensors(batch) for batch in small]
        self.scale = scale
        calls: list[dict[str, Any]] = []
        for batch, (arrays, extra) in zip(small, tensors, strict=True):
            calls.append({"tensors": arrays, "objective": self.objective, "batch": batch, "extra": extra})
        ids = tensors[0][0]["input_ids"]
        schedule = self._schedule(len(small), *ids.shape)
        given: dict[str, Any] = {"kwarg_mbs": calls, "return_outputs": False}
        if self.stages[0].is_first:
            given["arg_mbs"] = [(arrays["input_ids"],) for arrays, _ in tensors]
        if self.last is not None:
            given["target_mbs"] = [arrays["targets"] for arrays, _ in tensors]
            self.last.found.clear()
        schedule.step(**given)
        self.settle()
        if self.tied is not None:
            gradients.add_up_tied(self.tied[1], self.tied[0])
        tally = Tally(self.objective)
        if self.last is not None:
            for output in self.last.found:
                tally.add(output, (0,) * len(tally.terms))
        terms = len(tally.terms)
        counts = [sum(batch.counts[term] for batch in batches) for term in range(terms)]
        tally.values[terms : 2 * terms] += torch.tensor(counts, dtype=torch.float64)
        return self.share(tally)

    def losses(self, batch: Batch) -> LossOutput | None:
        wide = widened(batch, rounded(width_of([batch]), 2 * self.layout.degrees.cp))
        arrays, extra = self._tensors(wide)
        given = {"tensors": arrays, "objective": self.objective, "batch": wide, "extra": extra}
        if self.last is not None:
            self.last.found.clear()
        self.through(arrays["input_ids"], **given)
        return self.last.found[0] if self.last is not None else None

    def clip(self, limit: float) -> float:
        is_copy = self.tied is not None and not self.stages[0].is_first
        copies = {self.tied[1]} if self.tied is not None and is_copy else set()
        return gradients.clip(self.weights.values(), limit, self.layout, copies)

    def through(self, ids: Tensor, **given: Any) -> Tensor | None:
        """One forward pass of ids [rows, T] through all stages; what the last one says, None elsewhere.

        Nobody waits for what was sent: a rank that is done with a batch goes on with the next.
        """
        said, sending = None, []
        for stage in self.stages:
            if stage.is_first:
                hidden = ids
            else:
                hidden = torch.empty(*ids.shape, self.hidden_size, dtype=self.wire, device=ids.device)
                dist.recv(hidden, group=self.group, group_src=self._owner(stage.index - 1))
            said = stage(hidden, **given)
            if not stage.is_last:
                there = self._owner(stage.index + 1)
                sending.append(dist.isend(said.to(self.wire).contiguous(), group=self.group, group_dst=there))
                said = None
        for work in sending:
            if work is not None:
                work.wait()
        return said

    @contextlib.contextmanager
    def whole(self) -> Iterator[nn.Module]:
        with lockstep(self) as model:
            yield model

    def _owner(self, index: int) -> int:
        return index % self.layout.degrees.pp

    def _width(self, width: int) -> int:
        """Rows of a step as wide as this: one of few widths, and of pieces of one size."""
        return rounded(min(rounded(width, WIDTH_STEP), self.most), 2 * self.layout.degrees.cp)

    def _tensors(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The arrays of a batch, and what else its forward pass gets."""
        if self.layout.degrees.cp == 1:
            return self.objective.tensors(batch, self.layout.device), {}
        facade, tensors = context_parallel(None, batch, self.objective, self.layout)
        return tensors, facade.changes

    def _schedule(self, count: int, rows: int, width: int) -> Any:
        """The schedule for `count` micro-batches [rows, width]."""
        key = (count, rows, width)
        if key not in self._schedules:
            self._schedules[key] = self._make_schedule(count, rows, width)
        return self._schedules[key]

    def _make_schedule(self, count: int, rows: int, width: int) -> Any:
        device = self.layout.device
        ids = torch.empty(rows, width, dtype=torch.int64, device=device)
        shape = (rows, width, self.hidden_size)
        # Their gradients come back the way they went.
        hidden = torch.empty(shape, dtype=self.wire, device=device, requires_grad=True)
        sums = torch.empty(len(self.objective.terms), device=device, requires_grad=True)
        stages = [
            PipelineStage(
                stage,
                stage.index,
                stage.count,
                device,
                input_args=ids if stage.is_first else hidden,
                output_args=sums if stage.is_last else hidden,
                group=self.group,
            )
            for stage in self.stages
        ]
        made: Callable[..., Any] = SCHEDULES[self.section.pp_schedule]
        several = self.section.pp_schedule == "interleaved"
        return made(
            stages if several else stages[0],
            n_microbatches=count,
            loss_fn=lambda sums, _: (sums * self.scale).sum(),
            scale_grads=False,
        )
