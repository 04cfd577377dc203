"""What the tasks of an encoder share: labelled records as rows, a head's answers, held-out examples."""

from __future__ import annotations

import inspect
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from workbench.data.records import CHECKS, Record, TaskRows, encode_records
from workbench.data.records.store import NO_TARGET
from workbench.objectives.base import Batch, Objective, Rows
from workbench.objectives.view import RowView, State, StreamView, TokenView

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from workbench.data.records.store import ExampleStore
    from workbench.recipe import Recipe

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
LABELS = ("label", "tags", "answers")
"""The columns of a record that say what is right."""
SAMPLES = 3


@dataclass(frozen=True)
class LabelledRows:
    """One example a row (of spans: one window of it), padded to the longest of its batch."""

    rows: TaskRows
    store: ExampleStore
    task: Task
    batch_size: int | None = None

    @property
    def length(self) -> int:
        """Tokens in a row, at most."""
        return self.rows.length

    def rows_per_epoch(self, epoch: int) -> int:
        """How many rows an epoch has."""
        return self.rows.rows_per_epoch(epoch)

    def batch(self, start: int, count: int) -> Batch:
        """`input_ids`, `attention_mask`, `token_type_ids` where the tokenizer has them, each
        [count, length], and the targets."""
        raw = self.rows.batch(start, count)
        return self.task.batch(raw, self.store, self.rows.indices(start, count))

    def report(self) -> dict[str, Any]:
        """See `TaskRows.report`."""
        return self.rows.report(self.batch_size)


class Task(Objective):
    """A head on an encoder, trained on labelled records."""

    terms = ("loss",)
    targets: ClassVar[tuple[str, ...]] = ("labels",)
    """The arrays of a batch that hold what is to be predicted."""

    def __init__(self, recipe: Recipe, tokenizer: Any) -> None:
        super().__init__(recipe, tokenizer)
        self.labels: tuple[str, ...] = ()
        self.max_length = 0
        # The held-out records, and what is right for those that samples are made of, by prompt.
        self.records: list[dict[str, Any]] = []
        self.gold: dict[str, str] = {}

    def rows(self, store: ExampleStore, length: int, *, training: bool) -> Rows:
        """Rows of like length together while training; held out in the order of the file."""
        self.labels, self.max_length = store.labels, length
        if not training:
            self.records = store.records
        shuffle = training and self.recipe.data.shuffle
        section = self.recipe.training
        # By whole steps: their rows are the same however many processes share them.
        rows = TaskRows(store, seed=section.seed, shuffle=shuffle, batch_bucketing=self.recipe.rows_per_step)
        return LabelledRows(rows, store, self, section.per_device_train_batch_size)

    def batch(self, raw: Mapping[str, Any], store: ExampleStore, rows: NDArray[np.int64]) -> Batch:
        """The arrays of `TaskRows.batch` with the number of their targets; `rows` are their places in the
        store."""
        arrays = dict(raw)
        examples = arrays.pop("examples")
        targets = [arrays[name] for name in self.targets if name in arrays]
        count = sum(int((target != NO_TARGET).sum()) for target in targets)
        extra = {"examples": examples.tolist(), "rows": rows.tolist(), "store": store}
        return Batch(arrays, (count,), int(arrays["attention_mask"].sum()), extra)

    def forward(self, model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> Any:
        """What the model answers to the inputs of a batch, those that it takes."""
        return model(**{name: tensors[name] for name in inputs_of(model) if name in tensors})

    @abstractmethod
    def decode(self, model: nn.Module, output: Any, batch: Batch) -> list[Any]:
        """What an output says of each row: `prediction` and `scores`, or what `combine` makes them of."""

    def combine(self, record: Mapping[str, Any], decoded: Sequence[Any]) -> dict[str, Any]:
        """The answer to a record from what was decoded of its rows."""
        answer: dict[str, Any] = decoded[0]
        return answer

    @torch.no_grad()
    def answers(
        self, model: nn.Module, records: Sequence[Mapping[str, Any]], max_length: int, batch_size: int
    ) -> list[dict[str, Any]]:
        """What the model says of records, labelled or not: `prediction` and `scores` of each, in order."""
        plain = [{name: record[name] for name in record if name not in LABELS} for record in records]
        store = encode_records(plain, self.tokenizer, self.name, max_length)
        rows = LabelledRows(TaskRows(store, shuffle=False), store, self)
        device = next(model.parameters()).device
        decoded: list[list[Any]] = [[] for _ in records]
        count = rows.rows_per_epoch(0)
        for start in range(0, count, batch_size):
            batch = rows.batch(start, min(batch_size, count - start))
            output = self.forward(model, self.tensors(batch, device))
            found = self.decode(model, output, batch)
            for example, part in zip(batch.extra["examples"], found, strict=True):
                decoded[example].append(part)
        return [self.combine(record, parts) for record, parts in zip(records, decoded, strict=True)]

    def sample(self, model: nn.Module, prompt: str) -> dict[str, Any]:
        """What the model answers to a prompt, with the gold answer where it is known."""
        record = CHECKS[self.name](Record(self.record_of(prompt), prompt[:100]), labelled=False)
        (answer,) = self.answers(model, [record], self.max_length, 1)
        gold = self.gold.get(prompt)
        return {"text": self.text_of(answer), **({} if gold is None else {"gold": gold})}

    def default_prompts(self, store: ExampleStore) -> list[str]:
        """Three held-out examples; what is right is told beside the answers."""
        records = store.records[:: max(1, len(store.records) // SAMPLES)][:SAMPLES]
        self.gold = {self.prompt_of(record): self.gold_of(record) for record in records}
        return list(self.gold)

    def prompt_of(self, record: Mapping[str, Any]) -> str:
        """A record as a prompt that `record_of` reads: a text, or JSON with `text` and `text_pair`."""
        if record.get("text_pair") is None and json_record(record["text"], "text") is None:
            return str(record["text"])
        return as_json(record, "text", "text_pair")

    def gold_of(self, record: Mapping[str, Any]) -> str:
        """What is right for a labelled record, as `text_of` would tell it."""
        return str(record["label"])

    def record_of(self, prompt: str) -> dict[str, Any]:
        """A prompt as a record: a text, or JSON with `text` and `text_pair`. Raises `DataError`."""
        return json_record(prompt, "text") or {"text": prompt}

    @abstractmethod
    def text_of(self, answer: Mapping[str, Any]) -> str:
        """An answer in a line."""

    def label_of(self, batch: Batch, row: int) -> str:
        """What is to be answered to all of a row."""
        return ""

    def marks_of(self, batch: Batch, row: int) -> dict[int, str]:
        """What is to be answered at single places of a row."""
        return {}

    def notes_of(self, batch: Batch, row: int) -> list[str]:
        """What else a person should know of a row."""
        store, row_number = batch.extra["store"], batch.extra["rows"][row]
        full = store.lengths[row_number] >= store.max_length
        return [f"as long as a row may be, {store.max_length} tokens: what was longer is cut"] if full else []

    def view(self, batch: Batch) -> list[RowView]:
        """Rows with what is to be answered; every token sees all that are no padding."""
        special = set(self.tokenizer.all_special_ids)
        views = []
        for row, ids in enumerate(batch.arrays["input_ids"].tolist()):
            real = batch.arrays["attention_mask"][row].astype(bool)
            marks, first = self.marks_of(batch, row), int(real.argmax())
            tokens = []
            for place, token in enumerate(ids):
                state: State = "special" if token in special else "context"
                state = "supervised" if place in marks else state
                state = state if real[place] else "padding"
                document = 0 if real[place] else -1
                note = marks.get(place, "")
                tokens.append(TokenView(token, state, place - first, document, note=note))
            attends = real[:, None] & real[None, :]
            stream = StreamView("input", tokens, attends)
            views.append(RowView(row, [stream], self.label_of(batch, row), self.notes_of(batch, row)))
        return views


def bare(model: Any) -> Any:
    """The transformers model inside what DDP and PEFT wrap around it."""
    model = getattr(model, "module", model)
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def inputs_of(model: Any) -> tuple[str, ...]:
    """Which of a batch's arrays a model takes: not every encoder has segments."""
    inner = bare(model)
    known = inspect.signature(type(inner).forward).parameters
    segments = getattr(inner.config, "type_vocab_size", None)
    return tuple(
        name for name in INPUTS if name in known and not (name == "token_type_ids" and segments in (0, 1))
    )


def label_name(model: Any, number: int) -> str:
    """What the head's output `number` is called."""
    return str(bare(model).config.id2label[number])


def json_record(prompt: str, column: str) -> dict[str, Any] | None:
    """A prompt that is JSON of a record with this column, or None."""
    if not prompt.lstrip().startswith("{"):
        return None
    try:
        record = json.loads(prompt)
    except json.JSONDecodeError:
        return None
    return record if isinstance(record, dict) and column in record else None


def as_json(record: Mapping[str, Any], *columns: str) -> str:
    """Some columns of a record as a line of JSON."""
    return json.dumps({name: record[name] for name in columns if name in record}, ensure_ascii=False)
