"""Evaluation on held-out rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object

from workbench.training.tally import Tally

if TYPE_CHECKING:
    from accelerate import Accelerator

    from workbench.objectives import Objective, Rows
    from workbench.training.parallel.stepper import Stepper


@dataclass
class Evaluator:
    """Mean loss over held-out targets, the same rows every time, shared among the processes."""

    rows: Rows
    objective: Objective
    accelerator: Accelerator
    batch_size: int
    max_batches: int | None
    data_size: int = 1
    """Groups of processes that read different rows."""
    predictions: list[Any] = field(default_factory=list, init=False)
    """What the objective predicted in the last evaluation, where it predicts something."""
    on_batch: Callable[[str, int, int | None], None] = field(default=lambda *_: None, init=False)
    """Told how many rows are done, of how many."""

    @property
    def num_rows(self) -> int:
        """How many rows an evaluation reads, by all processes together."""
        available = self.rows.rows_per_epoch(0)
        if self.max_batches is None:
            return available
        return min(available, self.max_batches * self.batch_size * self.data_size)

    @torch.no_grad()
    def evaluate(self, stepper: Stepper) -> dict[str, float]:
        """`eval_loss`, and the metrics of the objective."""
        available, accelerator, layout = self.num_rows, self.accelerator, stepper.layout
        starts = range(0, available, self.batch_size)
        tally, predictions = Tally(self.objective), list[Any]()
        stepper.module.eval()
        mine = list(starts[layout.data_rank :: layout.data_size])
        for start in mine:
            batch = self.rows.batch(start, min(self.batch_size, available - start))
            output = stepper.losses(batch)
            if output is not None:
                tally.add(output, batch.counts)
                if layout.counts_losses:
                    predictions += output.predictions
            self.on_batch("evaluating", min(start + self.batch_size, available), available)
        if not layout.is_plain and len(mine) < -(-len(starts) // layout.data_size):
            # Where weights are gathered for each batch, all processes go through as many: one more, not
            # counted.
            stepper.losses(self.rows.batch(0, min(self.batch_size, available)))
        stepper.share(tally).reduce(accelerator)
        if accelerator.num_processes > 1:
            predictions = gather_object(predictions)
        self.predictions = predictions
        totals = tally.totals()
        values = {"eval_loss": self.objective.loss_of(totals)}
        values |= _named(self.objective.metrics(totals, training=False))
        if accelerator.is_main_process:
            values |= _named(self.objective.score(predictions))
        if accelerator.is_main_process or not layout.is_plain:
            extra = self.objective.extra_evaluation(stepper.module, self.rows, accelerator.device, available)
            values |= _named(extra)
        stepper.module.train()
        return values


UNIQUE = ("perplexity", "bits_per_byte", "pseudo_perplexity")
"""Metrics that only an evaluation has, under the names everyone uses for them."""


def _named(values: dict[str, float]) -> dict[str, float]:
    return {name if name in UNIQUE else f"eval_{name}": value for name, value in values.items()}
