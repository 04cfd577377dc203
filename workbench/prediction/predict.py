"""Answers to the records of a file, in its order, as they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from workbench.data.records.checking import CHECKS
from workbench.data.records.reading import Record
from workbench.errors import ModelError
from workbench.objectives import OBJECTIVES
from workbench.prediction.fill_mask import fill_masks
from workbench.prediction.opening import Opened, device_of, open_model
from workbench.prediction.reading import read_records
from workbench.recipe import Recipe

if TYPE_CHECKING:
    from workbench.prediction.events import Events

BATCHES_AT_ONCE = 16
"""Batches that are read ahead, so that texts of like length can be answered together."""

INSTEAD = {
    "clm": "it writes: workbench ask --model RUN, or workbench eval for its loss",
    "plm": "it is there to be trained on a task: workbench train classify model.model_name_or_path=…",
    "rtd": "it is there to be trained on a task: workbench train classify model.model_name_or_path=…",
    "denoise": "it restores text; its samples show how: workbench runs show RUN",
}


def predict(request: dict[str, Any], events: Events) -> None:
    """Send a `row` for each record: its columns, `prediction` and `scores`."""
    opened = open_model(request["model"], device_of(request["device"]), request["max_length"])
    objective = opened.purpose.objective
    if objective in INSTEAD:
        raise ModelError(
            f"this model was trained by {objective}: it has no labels, numbers or answers to predict",
            where=opened.name,
            hint=INSTEAD[objective],
        )
    records = read_records(request["file"], objective, request["columns"])
    batch_size, done = request["batch_size"], 0
    with torch.inference_mode():
        while chunk := list(islice(records, batch_size * BATCHES_AT_ONCE)):
            for record, answer in zip(chunk, answers(opened, chunk, batch_size), strict=True):
                events.send("row", row={**record.values, **answer})
            done += len(chunk)
            events.progress("records", done)


def answers(opened: Opened, chunk: Sequence[Record], batch_size: int) -> Iterator[dict[str, Any]]:
    """`prediction` and `scores` of each record."""
    kind = opened.purpose.objective
    if kind == "mlm":
        yield from fill_masks(opened, chunk, batch_size)
        return
    checked = [CHECKS[kind](record, labelled=False) for record in chunk]
    section = {"name": kind}
    recipe = Recipe.model_validate({"model": {"model_name_or_path": opened.name}, "objective": section})
    objective: Any = OBJECTIVES[kind](recipe, opened.tokenizer)
    for answer in objective.answers(opened.model, checked, opened.max_length, batch_size):
        yield {"prediction": answer["prediction"], "scores": answer["scores"]}
