"""Evaluation on held-out rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

    from workbench.data import PackedRows
    from workbench.objectives import Objective


@dataclass
class Evaluator:
    """Mean loss over held-out targets, the same rows every time, shared among the processes."""

    rows: PackedRows
    objective: Objective
    accelerator: Accelerator
    batch_size: int
    max_batches: int | None
    bytes_per_token: float

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """`eval_loss` (nats a token), `perplexity`, `bits_per_byte` and `eval_mean_token_accuracy`."""
        available = self.rows.rows_per_epoch(0)
        if self.max_batches is not None:
            available = min(available, self.max_batches * self.batch_size * self.accelerator.num_processes)
        starts = range(0, available, self.batch_size)
        sums = torch.zeros(3, dtype=torch.float64)
        model.eval()
        # The bare module: DDP's forward would exchange buffers, and processes may have unequal shares.
        bare = self.accelerator.unwrap_model(model)
        for start in starts[self.accelerator.process_index :: self.accelerator.num_processes]:
            batch = self.rows.batch(start, min(self.batch_size, available - start))
            tensors = self.objective.tensors(batch, self.accelerator.device)
            with self.accelerator.autocast():
                output = self.objective.loss(bare, tensors, batch.num_targets)
            sums += torch.tensor(
                [output.loss_sum.item(), output.count, output.correct.item()], dtype=torch.float64
            )
        model.train()
        if self.accelerator.num_processes > 1:
            sums = sums.to(self.accelerator.device)
            torch.distributed.all_reduce(sums)
        loss_sum, count, correct = sums.tolist()
        loss = loss_sum / max(count, 1)
        return {
            "eval_loss": loss,
            "perplexity": math.exp(loss) if loss < 700 else math.inf,
            "bits_per_byte": loss / math.log(2) / self.bytes_per_token,
            "eval_mean_token_accuracy": correct / max(count, 1),
        }
