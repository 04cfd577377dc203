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
    """One float64 vector: the sums of the loss's terms, their counts, the statistics."""

    def __init__(self, objective: Objective, values: Sequence[float] = ()) -> None:
        self.objective = objective
        self.terms, self.stats = objective.terms, objective.stat_names
        size = 2 * len(self.terms) + len(self.stats)
        self.values = torch.zeros(size, dtype=torch.float64)
        if len(values) == size:
            self.values += torch.tensor(values, dtype=torch.float64)

    def add(self, output: LossOutput, counts: Sequence[int]) -> None:
        """Take a batch in. One transfer, and no float64 on the device: not every accelerator has it."""
        found = torch.cat([output.sums.detach().float(), output.stats.detach().float()]).cpu().double()
        terms = len(self.terms)
        self.values[:terms] += found[:terms]
        self.values[terms : 2 * terms] += torch.tensor(counts, dtype=torch.float64)
        self.values[2 * terms :] += found[terms:]

    def totals(self) -> Totals:
        """The sums by name."""
        values, terms = self.values.tolist(), len(self.terms)
        return Totals(
            dict(zip(self.terms, values[:terms], strict=True)),
            dict(zip(self.terms, values[terms : 2 * terms], strict=True)),
            dict(zip(self.stats, values[2 * terms :], strict=True)),
        )

    def loss(self) -> float:
        """The weighted mean loss."""
        return self.objective.loss_of(self.totals())

    def reduce(self, accelerator: Accelerator) -> Tally:
        """Add up over all processes, in place."""
        self.values = over_processes(self.values, accelerator)
        return self

    def clear(self) -> None:
        """Start anew."""
        self.values.zero_()


def over_processes(sums: torch.Tensor, accelerator: Accelerator) -> torch.Tensor:
    """A vector added up over all processes."""
    if accelerator.num_processes == 1:
        return sums
    on_device: torch.Tensor = sums.to(accelerator.device)
    torch.distributed.all_reduce(on_device)
    return on_device.cpu()
