"""One label for a text or a pair of texts (Devlin et al. 2019, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F

from workbench.objectives.base import Batch, LossOutput, Totals
from workbench.objectives.task import Task, label_name

if TYPE_CHECKING:
    from torch import nn


class Classification(Task):
    """Cross-entropy over the labels, in fp32."""

    name: ClassVar[str] = "classification"
    stat_names = ("correct",)

    def loss(self, model: nn.Module, tensors: dict[str, torch.Tensor], batch: Batch) -> LossOutput:
        """Summed over examples; predictions are (gold, predicted) numbers of labels."""
        logits, labels = self.forward(model, tensors).logits.float(), tensors["labels"]
        predicted = logits.argmax(-1)
        output = LossOutput(
            F.cross_entropy(logits, labels, reduction="sum").unsqueeze(0),
            (predicted == labels).sum().unsqueeze(0),
        )
        if not torch.is_grad_enabled():
            output.predictions = list(zip(labels.tolist(), predicted.tolist(), strict=True))
        return output

    def metrics(self, totals: Totals, *, training: bool) -> dict[str, float]:
        """`accuracy`."""
        return {"accuracy": totals.stats["correct"] / max(totals.counts["loss"], 1)}

    def score(self, predictions: Sequence[Any]) -> dict[str, float]:
        """See `classification_scores`."""
        from workbench.objectives.scores import classification_scores

        return classification_scores([gold for gold, _ in predictions], [found for _, found in predictions])

    def decode(self, model: nn.Module, output: Any, batch: Batch) -> list[Any]:
        """The likeliest label, and the probability of each."""
        found = []
        for shares in output.logits.float().softmax(-1).tolist():
            best = label_name(model, shares.index(max(shares)))
            scores = {label_name(model, number): share for number, share in enumerate(shares)}
            found.append({"prediction": best, "scores": scores})
        return found

    def text_of(self, answer: Mapping[str, Any]) -> str:
        """`positive 0.98, negative 0.02`, the likeliest first."""
        ranked = sorted(answer["scores"].items(), key=lambda item: -item[1])
        return ", ".join(f"{label} {share:.2f}" for label, share in ranked[:5])

    def label_of(self, batch: Batch, row: int) -> str:
        """The gold label."""
        number = int(batch.arrays["labels"][row])
        return self.labels[number] if number < len(self.labels) else str(number)
