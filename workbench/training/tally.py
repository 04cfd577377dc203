"""Adding up losses, counts and statistics of many batches, over all processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from workbench.objectives import Totals

if TYPE_CHECKING:
    from accelerate import Accelerator

    from workbench.objectives import LossOutput, Objective


MOST_WAITING = 64
"""Batches whose sums may wait on the device."""


class Tally:
    """One float64 vector: the sums of the loss's terms, their counts, the statistics, and last the peaks,
    which are not added up: the greatest stays."""

    def __init__(self, objective: Objective, values: Sequence[float] = ()) -> None:
        self.objective = objective
        self.terms, self.stats, self.peaks = objective.terms, objective.stat_names, objective.peak_names
        self.sums = 2 * len(self.terms) + len(self.stats)
        self._values = torch.empty(self.sums + len(self.peaks), dtype=torch.float64)
        self._found: list[torch.Tensor] = []
        self.clear()
        if len(values) == len(self._values):
            self._values = torch.tensor(values, dtype=torch.float64)

    @property
    def values(self) -> torch.Tensor:
        """The vector; what batches left on the device is fetched now, in one transfer, in their order."""
        found, self._found = self._found, []
        terms, stats = len(self.terms), len(self.terms) + len(self.stats)
        # No float64 on the device: not every accelerator has it.
        for row in torch.stack(found).cpu().double() if found else ():
            self._values[:terms] += row[:terms]
            self._values[2 * terms : self.sums] += row[terms:stats]
            self._values[self.sums :].clamp_(min=row[stats:])
        return self._values

    def add(self, output: LossOutput, counts: Sequence[int]) -> None:
        """Take a batch in. Its sums stay on the device until somebody asks: to fetch them would wait for the
        batch, and keep the next from being queued."""
        parts = [output.sums.detach().float(), output.stats.detach().float()]
        if output.peaks is None:
            parts.append(parts[0].new_full((len(self.peaks),), -torch.inf))
        else:
            parts.append(output.peaks.detach().float())
        self._found.append(torch.cat(parts))
        terms = len(self.terms)
        self._values[terms : 2 * terms] += torch.tensor(counts, dtype=torch.float64)
        if len(self._found) >= MOST_WAITING:
            _ = self.values

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
        self._values = torch.cat([over_processes(self.values[: self.sums], accelerator), peaks])
        return self

    def clear(self) -> None:
        """Start anew."""
        self._found.clear()
        self._values[: self.sums] = 0.0
        self._values[self.sums :] = -torch.inf


def over_processes(sums: torch.Tensor, accelerator: Accelerator, *, greatest: bool = False) -> torch.Tensor:
    """A vector added up over all processes; or of each place the greatest."""
    if accelerator.num_processes == 1 or not len(sums):
        return sums
    on_device: torch.Tensor = sums.to(accelerator.device)
    kind = torch.distributed.ReduceOp.MAX if greatest else torch.distributed.ReduceOp.SUM
    torch.distributed.all_reduce(on_device, op=kind)
    return on_device.cpu()
