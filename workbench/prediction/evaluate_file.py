"""A model with a task's head on a file of labelled records."""

from __future__ import annotations

import difflib
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.data.records import CHECKS, ExampleStore, PreferenceStore, RecordSource, encode_records
from workbench.data.records.preference_encoding import encode_preferences
from workbench.data.records.preferences import Uninformative
from workbench.data.records.side import by_reason, nothing_in
from workbench.data.ticker import TOKENISING, Ticker
from workbench.errors import DataError, ModelError
from workbench.objectives import OBJECTIVES
from workbench.prediction.opening import Opened, device_of, open_model
from workbench.prediction.reading import missing_column
from workbench.prediction.report import details
from workbench.recipe import Recipe, SourceSpec
from workbench.training.parallel.layout import Layout
from workbench.training.parallel.stepper import PlainStepper
from workbench.training.session import describe_device, evaluator_of, make_accelerator, set_threads

if TYPE_CHECKING:
    from workbench.prediction.events import Events

NEEDED = {
    "classification": ("text", "label"),
    "regression": ("text", "label"),
    "tagging": ("tokens", "tags"),
    "span_extraction": ("question", "context", "answers"),
    "reward": (),
}


def evaluate_file(request: dict[str, Any], events: Events) -> None:
    """Send `result`, as `evaluate_recipe` does. Raises `DataError` for records that lack something or have
    labels that the model does not know, naming file and line."""
    device = device_of(request["device"])
    opened = open_model(request["model"], device, request["max_length"])
    kind = opened.purpose.objective
    if not opened.purpose.is_task:
        raise ModelError(
            f"this model was trained by {kind}: it has no labels to compare with a file's",
            where=opened.name,
            hint="evaluate it on the held-out data of a recipe: workbench eval MODEL RECIPE, or a run: "
            "workbench eval RUN data.eval_sources=[FILE]",
        )
    labels = opened.purpose.labels
    records, places = read_labelled(request["file"], kind, request["columns"], labels, events)
    recipe = Recipe.model_validate(
        {
            "model": {"model_name_or_path": opened.name},
            "objective": {"name": kind},
            "training": {"per_device_eval_batch_size": request["batch_size"], "max_eval_batches": None},
            "launch": {"device": device.type},
        }
    )
    set_threads(recipe)
    accelerator = make_accelerator(recipe)
    objective = OBJECTIVES[kind](recipe, opened.tokenizer)
    store = _encoded(records, places, opened, kind, request["file"])
    evaluator = evaluator_of(
        recipe, objective, objective.rows(store, opened.max_length, training=False), accelerator
    )
    assert evaluator is not None, "a file without records has been refused"
    evaluator.on_batch = events.progress
    if isinstance(store, PreferenceStore) and store.too_long + store.unanswered:
        text = f"left out are {store.too_long:,} answers of more than {opened.max_length:,} tokens, which "
        text += f"--max-length changes, and {store.unanswered:,} prompts without two that are ranked apart"
        events.send("note", text=text)
    if store.truncated:
        text = f"{store.truncated:,} records are cut to {opened.max_length} tokens; --max-length changes that"
        events.send("note", text=text)
    began = time.monotonic()
    metrics = evaluator.evaluate(
        PlainStepper(opened.model, opened.model, objective, Layout.plain(accelerator))
    )
    events.send(
        "result",
        objective=kind,
        model=opened.name,
        device=describe_device(accelerator),
        rows=evaluator.num_rows,
        seconds=time.monotonic() - began,
        metrics=metrics,
        **details(kind, evaluator.predictions, labels),
    )


def _encoded(
    records: list[dict[str, Any]], places: list[str], opened: Opened, kind: str, file: str
) -> ExampleStore | PreferenceStore:
    if kind != "reward":
        return encode_records(records, opened.tokenizer, kind, opened.max_length, opened.purpose.labels)
    ticker = Ticker(lambda *_: None, TOKENISING)
    store = encode_preferences(records, opened.tokenizer, opened.max_length, "eval", ticker, places)
    if not len(store):
        raise DataError(
            f"no prompt has two answers of at most {opened.max_length:,} tokens that were ranked apart",
            where=file,
            hint="--max-length lets longer ones in",
        )
    return store


def read_labelled(
    file: str,
    kind: str,
    columns: list[str] | dict[str, str] | None,
    labels: Sequence[str],
    events: Events,
) -> tuple[list[dict[str, Any]], list[str]]:
    """The records of a file, checked, their labels among those of the model; and the place of each."""
    named: Any = {"kind": "tagging"} if kind == "tagging" else {}
    source = RecordSource.find(SourceSpec(path=file, columns=columns, **named))
    known, found, places, uninformative = set(labels), [], [], Counter[str]()
    for record in source.records():
        missing = [name for name in NEEDED[kind] if name not in record.values]
        if missing:
            raise missing_column(missing[0], list(record.values), record.where)
        try:
            checked = CHECKS[kind](record)
        except Uninformative as error:
            uninformative[error.reason] += 1
            continue
        for label in checked["tags"] if kind == "tagging" else [checked.get("label")] if labels else []:
            if label not in known:
                raise _unknown_label(str(label), labels, record.where)
        found.append(checked)
        places.append(record.where)
        events.progress("reading", len(found))
    if not found:
        raise nothing_in(file, 0, uninformative)
    if uninformative:
        events.send("note", text=f"left out are records that prefer nothing: {by_reason(uninformative)}")
    return found, places


def _unknown_label(label: str, labels: Sequence[str], where: str) -> DataError:
    near = difflib.get_close_matches(label, labels, n=1)
    known = f"the model's labels are: {', '.join(labels[:20])}" + (" …" if len(labels) > 20 else "")
    return DataError(
        f"the model does not know the label “{label}”",
        where=where,
        hint=f"did you mean {near[0]}? {known}" if near else known,
    )
