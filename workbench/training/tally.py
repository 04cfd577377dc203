"""Adding up losses, counts and statistics of many batches, over all processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from workbench.objectives import Totals

if TYPE_CHECKING:
    from accelerate import Accelerator

    from workbench.objectives import LossOutput, Objective


class Tally:
    """One float64 vector: the sums of the loss's terms, their counts, the statistics, and last the peaks,
    which are not added up: the greatest stays."""

    def __init__(self, objective: Objective, values: Sequence[float] = ()) -> None:
        self.objective = objective
        self.terms, self.stats, self.peaks = objective.terms, objective.stat_names, objective.peak_names
        self.sums = 2 * len(self.terms) + len(self.stats)
        self.values = torch.empty(self.sums + len(self.peaks), dtype=torch.float64)
        self.clear()
        if len(values) == len(self.values):
            self.values = torch.tensor(values, dtype=torch.float64)

    def add(self, output: LossOutput, counts: Sequence[int]) -> None:
        """Take a batch in. One transfer, and no float64 on the device: not every accelerator has it."""
        parts = [output.sums.detach().float(), output.stats.detach().float()]
        if output.peaks is not None:
            parts.append(output.peaks.detach().float())
        found = torch.cat(parts).cpu().double()
        terms = len(self.terms)
        self.values[:terms] += found[:terms]
        self.values[terms : 2 * terms] += torch.tensor(counts, dtype=torch.float64)
        self.values[2 * terms : self.sums] += found[terms : terms + len(self.stats)]
        if output.peaks is not None:
            self.values[self.sums :].clamp_(min=found[terms + len(self.stats) :])

    def merge(self, other: Tally) -> None:
        """Take in what another has added up."""
        self.values[: self.sums] += other.values[: self.sums]
        self.values[self.sums :].clamp_(min=other.values[self.sums :])

    def totals(self) -> Totals:
        """The sums by name."""
        values, terms = self.values.tolist(), len(self.terms)
        return Totals(
            dict(zip(self.terms, values[:terms], strict=True)),
            dict(zip(self.terms, values[terms : 2 * terms], strict=True)),
            dict(zip(self.stats, values[2 * terms : self.sums], strict=True)),
            dict(zip(self.peaks, values[self.sums :], strict=True)),
        )

    def loss(self) -> float:
        """The weighted mean loss."""
        return self.objective.loss_of(self.totals())

    def reduce(self, accelerator: Accelerator) -> Tally:
        """Add up over all processes, in place."""
        peaks = over_processes(self.values[self.sums :], accelerator, greatest=True)
        self.values = torch.cat([over_processes(self.values[: self.sums], accelerator), peaks])
        return self

    def clear(self) -> None:
        """Start anew."""
        self.values[: self.sums] = 0.0
        self.values[self.sums :] = -torch.inf


def over_processes(sums: torch.Tensor, accelerator: Accelerator, *, greatest: bool = False) -> torch.Tensor:
    """A vector added up over all processes; or of each place the greatest."""
    if accelerator.num_processes == 1 or not len(sums):
        return sums
    on_device: torch.Tensor = sums.to(accelerator.device)
    kind = torch.distributed.ReduceOp.MAX if greatest else torch.distributed.ReduceOp.SUM
    torch.distributed.all_reduce(on_device, op=kind)
    return on_device.cpu()
