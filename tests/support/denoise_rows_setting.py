"""Denoising of a T5 or a BART on ten small documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from encoder_rows import CPU, LENGTH, TEXTS, model_of, recipe_of, store_of, tokenizer_for

from workbench.objectives import OBJECTIVES, Batch

INFILLING = {"objective__noise": "infilling", "objective__noise_density": 0.3, "data__packing": False}


class Denoise:
    """The objective, rows of both sides and a model."""

    def __init__(
        self, folder: Path, family: str = "t5", texts: Sequence[str] = TEXTS, **changes: Any
    ) -> None:
        self.tokenizer = tokenizer_for(family)
        if family == "bart":
            changes = {**INFILLING, **changes}
        self.recipe = recipe_of(family, "denoise", **changes)
        self.objective: Any = OBJECTIVES["denoise"](self.recipe, self.tokenizer)
        self.store = store_of(folder, self.tokenizer, texts, objective="denoise")
        self.held_out = store_of(folder, self.tokenizer, texts[::-1], objective="denoise", side="eval")
        self.rows: Any = self.objective.rows(self.store, LENGTH, training=True)
        self.eval_rows: Any = self.objective.rows(self.held_out, LENGTH, training=False)
        self.model: Any = model_of(self.recipe, self.tokenizer)

    def all_rows(self) -> Batch:
        """The first epoch."""
        found: Batch = self.rows.batch(0, self.rows.rows_per_epoch(0))
        return found

    def tensors(self, batch: Batch) -> dict[str, torch.Tensor]:
        """A batch as the model gets it."""
        found: dict[str, torch.Tensor] = self.objective.tensors(batch, CPU)
        return found

    def loss(self, batch: Batch) -> torch.Tensor:
        """The summed loss of a batch."""
        found: torch.Tensor = self.objective.loss(self.model, self.tensors(batch), batch).sums[0]
        return found
