"""One label for each word: entities in IOB2, parts of speech (Ramshaw & Marcus 1995; Devlin et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F

from workbench.data.records.store import NO_TARGET
from workbench.objectives.base import Batch, LossOutput, Totals
from workbench.objectives.task import Task, as_json, json_record, label_name

if TYPE_CHECKING:
    from torch import nn


class Tagging(Task):
    """Cross-entropy over the tags at the first piece of each word, in fp32; other pieces have no target."""

    name: ClassVar[str] = "tagging"
    stat_names = ("correct",)

    def loss(self, model: nn.Module, tensors: dict[str, torch.Tensor], batch: Batch) -> LossOutput:
        """Summed over words; predictions are (gold tags, predicted tags) of each sentence."""
        logits, labels = self.forward(model, tensors).logits.float(), tensors["labels"]
        found = logits.argmax(-1)
        loss_sum = F.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=NO_TARGET, reduction="sum"
        )
        output = LossOutput(
            loss_sum.unsqueeze(0), ((found == labels) & (labels != NO_TARGET)).sum().unsqueeze(0)
        )
        if not torch.is_grad_enabled():
            known = (labels != NO_TARGET).cpu()
            for row, example in enumerate(batch.extra["examples"]):
                tags = [self.labels[tag] for tag in found[row].cpu()[known[row]].tolist()]
                gold = list(self.records[example]["tags"])
                # Words behind the end of a row that was cut count as missed.
                output.predictions.append((gold, tags + [self.nothing] * (len(gold) - len(tags))))
        return output

    @property
    def nothing(self) -> str:
        """The tag of a word that was not read."""
        return "O" if "O" in self.labels else self.labels[0]

    def metrics(self, totals: Totals, *, training: bool) -> dict[str, float]:
        """`token_accuracy`."""
        return {"token_accuracy": totals.stats["correct"] / max(totals.counts["loss"], 1)}

    def score(self, predictions: Sequence[Any]) -> dict[str, float]:
        """See `tagging_scores`."""
        from workbench.objectives.scores import tagging_scores

        return tagging_scores([gold for gold, _ in predictions], [found for _, found in predictions])

    def decode(self, model: nn.Module, output: Any, batch: Batch) -> list[Any]:
        """The likeliest tag of each word and its probability, by the word's number, which stands where in
        training the tag does: at the word's first piece."""
        best = output.logits.float().softmax(-1).max(-1)
        found = []
        for row, words in enumerate(batch.arrays["labels"].tolist()):
            shares, tags = best.values[row].tolist(), best.indices[row].tolist()
            found.append(
                {
                    word: (label_name(model, tags[place]), shares[place])
                    for place, word in enumerate(words)
                    if word != NO_TARGET
                }
            )
        return found

    def combine(self, record: Mapping[str, Any], decoded: Sequence[Any]) -> dict[str, Any]:
        """A tag for each word; words behind the end of a row that was cut have None."""
        pairs = [decoded[0].get(word, (None, None)) for word in range(len(record["tokens"]))]
        return {
            "tokens": list(record["tokens"]),
            "prediction": [tag for tag, _ in pairs],
            "scores": [share for _, share in pairs],
        }

    def text_of(self, answer: Mapping[str, Any]) -> str:
        """`Sioux/B-ORG Falls/I-ORG is`: words that are in no entity stand alone."""
        return " ".join(
            word if tag in (None, "O") else f"{word}/{tag}"
            for word, tag in zip(answer["tokens"], answer["prediction"], strict=True)
        )

    def prompt_of(self, record: Mapping[str, Any]) -> str:
        """Words with blanks between them, or JSON where a word holds one."""
        text = " ".join(record["tokens"])
        same = self.record_of(text)["tokens"] == list(record["tokens"])
        return text if same else as_json(record, "tokens")

    def gold_of(self, record: Mapping[str, Any]) -> str:
        """As `text_of`."""
        return self.text_of({"tokens": record["tokens"], "prediction": record["tags"]})

    def record_of(self, prompt: str) -> dict[str, Any]:
        """Words between blanks, or JSON with `tokens`."""
        return json_record(prompt, "tokens") or {"tokens": prompt.split()}

    def marks_of(self, batch: Batch, row: int) -> dict[int, str]:
        """The gold tag at the first piece of each word."""
        targets = batch.arrays["labels"][row].tolist()
        return {place: self.labels[tag] for place, tag in enumerate(targets) if tag != NO_TARGET}

    def notes_of(self, batch: Batch, row: int) -> list[str]:
        """How many words were cut."""
        words = len(batch.extra["store"].records[batch.extra["examples"][row]]["tokens"])
        cut = words - int((batch.arrays["labels"][row] != NO_TARGET).sum())
        return [f"{cut} of {words} words are cut"] if cut else []
