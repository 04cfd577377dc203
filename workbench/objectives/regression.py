"""One number for a text or a pair of texts, such as how similar they are (Cer et al. 2017, STS-B)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from workbench.objectives.base import Batch, LossOutput, Totals
from workbench.objectives.task import Task

if TYPE_CHECKING:
    from torch import nn


class Regression(Task):
    """Squared error of the head's one output, in fp32."""

    name: ClassVar[str] = "regression"

    def loss(self, model: nn.Module, tensors: dict[str, torch.Tensor], batch: Batch) -> LossOutput:
        """Summed over examples; predictions are (gold, predicted) numbers."""
        predicted, labels = self.forward(model, tensors).logits.float().squeeze(-1), tensors["labels"]
        output = LossOutput(((predicted - labels) ** 2).sum().unsqueeze(0), predicted.new_zeros(0))
        if not torch.is_grad_enabled():
            output.predictions = list(zip(labels.tolist(), predicted.tolist(), strict=True))
        return output

    def metrics(self, totals: Totals, *, training: bool) -> dict[str, float]:
        """None beside the loss, which is the mean squared error."""
        return {}

    def score(self, predictions: Sequence[Any]) -> dict[str, float]:
        """See `regression_scores`."""
        from workbench.objectives.scores import regression_scores

        return regression_scores([gold for gold, _ in predictions], [found for _, found in predictions])

    def decode(self, model: nn.Module, output: Any, batch: Batch) -> list[Any]:
        """The number; nothing says how sure it is."""
        return [{"prediction": value, "scores": {}} for value in output.logits.float().squeeze(-1).tolist()]

    def text_of(self, answer: Mapping[str, Any]) -> str:
        """The number."""
        return f"{answer['prediction']:.3g}"

    def label_of(self, batch: Batch, row: int) -> str:
        """The gold number."""
        return f"{float(batch.arrays['labels'][row]):g}"
