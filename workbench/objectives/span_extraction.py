"""The span of a context that answers a question (Rajpurkar et al. 2016; Devlin et al. 2019, section 4.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from workbench.data.records.store import NO_TARGET
from workbench.errors import DataError
from workbench.objectives.base import Batch, LossOutput, Totals
from workbench.objectives.span_search import best_spans, merge, probabilities
from workbench.objectives.task import Task, as_json, json_record

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from workbench.data.records.store import ExampleStore

SEPARATOR = " | "
ALTERNATIVES = 5


class SpanExtraction(Task):
    """Cross-entropy over the places of a window for the answer's start, and for its end, in fp32.

    A long context is several windows; one that holds no answer has both at its `[CLS]`. A question's
    answer is the best over its windows.
    """

    name: ClassVar[str] = "span_extraction"
    targets: ClassVar[tuple[str, ...]] = ("start_positions", "end_positions")
    stat_names = ("correct",)

    def batch(self, raw: Mapping[str, Any], store: ExampleStore, rows: NDArray[np.int64]) -> Batch:
        """A window without an answer points at `[CLS]`, wherever that stands (in XLNet, last)."""
        arrays = dict(raw)
        starts, ends = arrays["start_positions"].copy(), arrays["end_positions"].copy()
        cls = (arrays["input_ids"] == self.tokenizer.cls_token_id).argmax(1)
        # In the store it points at its first token.
        none = starts == arrays["attention_mask"].argmax(1)
        starts[none], ends[none] = cls[none], cls[none]
        arrays |= {"start_positions": starts, "end_positions": ends}
        return super().batch(arrays, store, rows)

    def loss(self, model: nn.Module, tensors: dict[str, torch.Tensor], batch: Batch) -> LossOutput:
        """Summed over starts and ends; predictions are (example, best spans and no-answer score).

        The softmax is over the places of a window, without the padding that transformers has in it: what a
        window costs does not depend on which others are in its batch.
        """
        output, padding = self.forward(model, tensors), tensors["attention_mask"] == 0
        start, end = (
            logits.float().masked_fill(padding, -torch.inf)
            for logits in (output.start_logits, output.end_logits)
        )
        starts, ends = tensors["start_positions"], tensors["end_positions"]
        options: dict[str, Any] = {"ignore_index": NO_TARGET, "reduction": "sum"}
        loss_sum = F.cross_entropy(start, starts, **options) + F.cross_entropy(end, ends, **options)
        correct = (start.argmax(-1) == starts).sum() + (end.argmax(-1) == ends).sum()
        result = LossOutput(loss_sum.unsqueeze(0), correct.unsqueeze(0))
        if not torch.is_grad_enabled():
            decoded = self.decode(model, output, batch)
            result.predictions = list(zip(batch.extra["examples"], decoded, strict=True))
        return result

    def metrics(self, totals: Totals, *, training: bool) -> dict[str, float]:
        """`position_accuracy`: how often the likeliest place of a start or end is the right one."""
        return {"position_accuracy": totals.stats["correct"] / max(totals.counts["loss"], 1)}

    def score(self, predictions: Sequence[Any]) -> dict[str, float]:
        """See `span_scores`. Where some questions have no answer, none is answered too, when it scores
        above the best span."""
        from workbench.objectives.scores import span_scores

        windows: dict[int, list[Any]] = {}
        for example, decoded in predictions:
            windows.setdefault(int(example), []).append(decoded)
        records = [self.records[example] for example in windows]
        gold = [[text for text, _ in record["answers"]] for record in records]
        none_counts = not all(gold)
        found = []
        for record, decoded in zip(records, windows.values(), strict=True):
            answer = self.combine(record, decoded)
            none = none_counts and answer["scores"]["no_answer"] > answer["scores"]["answer"]
            found.append("" if none else answer["prediction"])
        return span_scores(gold, found)

    def decode(self, model: nn.Module, output: Any, batch: Batch) -> list[Any]:
        """The best spans of each window, and the score of no answer: that of `[CLS]`."""
        start, end = output.start_logits.float().cpu().numpy(), output.end_logits.float().cpu().numpy()
        ids = batch.arrays["input_ids"]
        found = []
        for row, offsets in enumerate(_characters(batch)):
            cls = int((ids[row] == self.tokenizer.cls_token_id).argmax())
            spans = best_spans(start[row], end[row], offsets)
            found.append((spans, float(start[row, cls] + end[row, cls])))
        return found

    def combine(self, record: Mapping[str, Any], decoded: Sequence[Any]) -> dict[str, Any]:
        """The best span over the windows, its probability among the best, that of no answer, and what else
        was likely. No answer scores what it does in the window where it is least likely."""
        best = merge(spans for spans, _ in decoded)
        *shares, none = probabilities(best, (min(score for _, score in decoded),))
        texts = [record["context"][span.start : span.end] for span in best]
        likely = [
            {"answer": text, "start": span.start, "score": share}
            for text, span, share in zip(texts, best, shares, strict=True)
        ]
        return {
            "prediction": texts[0] if texts else "",
            "scores": {
                "answer": shares[0] if shares else 0.0,
                "no_answer": none,
                "likely": likely[:ALTERNATIVES],
            },
        }

    def text_of(self, answer: Mapping[str, Any]) -> str:
        """`1889 0.93`."""
        return f"{answer['prediction']} {answer['scores']['answer']:.2f}"

    def prompt_of(self, record: Mapping[str, Any]) -> str:
        """JSON with `question` and `context`."""
        return as_json(record, "question", "context")

    def gold_of(self, record: Mapping[str, Any]) -> str:
        """The right answers."""
        return " / ".join(dict.fromkeys(text for text, _ in record["answers"])) or "(no answer)"

    def record_of(self, prompt: str) -> dict[str, Any]:
        """`question | context`, or JSON with `question` and `context`."""
        record = json_record(prompt, "question")
        if record is None:
            question, separator, context = prompt.partition(SEPARATOR)
            record = {"question": question, "context": context} if separator else {}
        if not isinstance(record.get("context"), str):
            raise DataError(
                "a question needs a context",
                where=prompt[:100],
                hint='write "question | context", or JSON: {"question": "…", "context": "…"}',
            )
        return record

    def marks_of(self, batch: Batch, row: int) -> dict[int, str]:
        """The tokens of the answer."""
        start, end = (int(batch.arrays[name][row]) for name in self.targets)
        return {place: "answer" for place in range(start, end + 1)} if start >= 0 else {}

    def notes_of(self, batch: Batch, row: int) -> list[str]:
        """Which window of a long context it is."""
        number, count = _window(batch.extra["store"], batch.extra["rows"][row])
        return [f"window {number} of {count}"] if count > 1 else []


def _characters(batch: Batch) -> Iterator[NDArray[np.int32]]:
    """Where in the context the tokens of each row stand [width, 2], −1 for what is not of the context."""
    store, width = batch.extra["store"], batch.arrays["input_ids"].shape[1]
    for row in batch.extra["rows"]:
        own = store.characters_of(row)
        characters = np.full((width, 2), -1, np.int32)
        characters[slice(width - len(own), width) if store.left_padded else slice(len(own))] = own
        yield characters


def _window(store: ExampleStore, row: int) -> tuple[int, int]:
    """The number of a row among the windows of its record, from 1, and how many there are."""
    first, end = np.searchsorted(store.examples, [store.examples[row], store.examples[row] + 1]).tolist()
    return row - first + 1, end - first
