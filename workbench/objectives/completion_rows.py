"""Prompts and completions as rows of causal language modelling: one record a row, padded on the right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.data.records import TaskRows
from workbench.data.records.store import NO_TARGET
from workbench.objectives.base import Batch


@dataclass(frozen=True)
class CompletionRows:
    """Only completions are predicted; batches are as wide as their longest row."""

    rows: TaskRows

    @property
    def length(self) -> int:
        """Tokens in a row, at most."""
        return self.rows.length

    def rows_per_epoch(self, epoch: int) -> int:
        """How many rows an epoch has."""
        return self.rows.rows_per_epoch(epoch)

    def batch(self, start: int, count: int) -> Batch:
        """`input_ids`, `position_ids` and `targets`, each [count, length]."""
        raw = self.rows.batch(start, count)
        ids, mask = raw["input_ids"], raw["attention_mask"]
        targets = np.full_like(ids, NO_TARGET)
        targets[:, :-1] = raw["labels"][:, 1:]
        positions = np.broadcast_to(np.arange(ids.shape[1], dtype=np.int64), ids.shape).copy()
        arrays = {"input_ids": ids, "position_ids": positions, "targets": targets}
        extra = {"document_ids": np.where(mask > 0, 0, -1)}
        return Batch(arrays, (int((targets != NO_TARGET).sum()),), int(mask.sum()), extra)

    def report(self) -> dict[str, Any]:
        """See `TaskRows.report`."""
        return self.rows.report()
