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
    from torch import nn

    from workbench.objectives import Objective, Rows


@dataclass
class Evaluator:
    """Mean loss over held-out targets, the same rows every time, shared among the processes."""

    rows: Rows
    objective: Objective
    accelerator: Accelerator
    batch_size: int
    max_batches: int | None
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
        processes: int = self.accelerator.num_processes
        return min(available, self.max_batches * self.batch_size * processes)

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """`eval_loss`, and the metrics of the objective."""
        available, accelerator = self.num_rows, self.accelerator
        starts = range(0, available, self.batch_size)
        tally, predictions = Tally(self.objective), list[Any]()
        model.eval()
        # The bare module: DDP's forward would exchange buffers, and processes may have unequal shares.
        bare = accelerator.unwrap_model(model)
        for start in starts[accelerator.process_index :: accelerator.num_processes]:
            batch = self.rows.batch(start, min(self.batch_size, available - start))
            tensors = self.objective.tensors(batch, accelerator.device)
            with accelerator.autocast():
                output = self.objective.loss(bare, tensors, batch)
            tally.add(output, batch.counts)
            predictions += output.predictions
            self.on_batch("evaluating", min(start + self.batch_size, available), available)
        tally.reduce(accelerator)
        if accelerator.num_processes > 1:
            predictions = gather_object(predictions)
        self.predictions = predictions
        totals = tally.totals()
        values = {"eval_loss": self.objective.loss_of(totals)}
        values |= _named(self.objective.metrics(totals, training=False))
        if accelerator.is_main_process:
            values |= _named(self.objective.score(predictions))
            extra = self.objective.extra_evaluation(bare, self.rows, accelerator.device, available)
            values |= _named(extra)
        model.train()
        return values


UNIQUE = ("perplexity", "bits_per_byte", "pseudo_perplexity")
"""Metrics that only an evaluation has, under the names everyone uses for them."""


def _named(values: dict[str, float]) -> dict[str, float]:
    return {name if name in UNIQUE else f"eval_{name}": value for name, value in values.items()}
