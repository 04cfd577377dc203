"""What is evaluated: all that bears on the numbers, as it is asked of the model and as it is kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from workbench.errors import UsageError
from workbench.prompting.answers import Answer
from workbench.prompting.composition import Composition
from workbench.prompting.evaluation.items import DataSet, Item
from workbench.prompting.evaluation.searched import searched
from workbench.prompting.examples import find_file
from workbench.prompting.judging.judge import VERSION
from workbench.prompting.judging.settings import JudgeSettings
from workbench.prompting.prompt import Prompt
from workbench.prompting.rows import digest
from workbench.prompting.technique import Task
from workbench.store.evaluations import Evaluation

Metric = Literal["answer", "exact", "contains", "judge"]
METRICS: dict[Metric, str] = {
    "answer": "the extracted answer is the reference, as the prompt's kind of answer compares",
    "exact": "the text is the reference, blanks around it aside",
    "contains": "the reference occurs in the text, whatever its case",
    "judge": "a model says so, by a rubric, on a scale",
}
SEED_STEP = 1_000_003
"""Between the seeds of two rows, so that the many chains of one share none with the next."""
COLLECTION = "collections."
ALSO_KEPT = ("name", "created", "items", "prompt.name", "prompt.text", "technique.name", "data.path")
"""What is kept beside, but may be another when an evaluation goes on."""


@dataclass(frozen=True)
class Setup:
    """A prompt and a technique, asked of a model for the items of a data set.

    `model` says which it is: `name` and `place`. `sampling` are changes to the prompt's own; `answer` is
    what is looked for where that is not the prompt's. `chosen` tells how the items were chosen, apart from
    how many. `samples` independent answers are asked for each item. With the metric `judge`, `judge` tells
    how they are judged, and `judge_model` says which model does.
    """

    prompt: Prompt
    technique: Composition
    model: Mapping[str, Any]
    data: DataSet
    variables: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    answer: Answer | None = None
    metric: Metric = "answer"
    samples: int = 1
    chosen: str = "in order"
    embedder: str | None = None
    judge: JudgeSettings | None = None
    judge_model: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert (self.metric == "judge") == (self.judge is not None)

    @property
    def judges_itself(self) -> bool:
        """Whether the judge has the name of the model it judges, wherever either runs."""
        names = [Path(str(about.get("name", ""))).name.casefold() for about in (self.model, self.judge_model)]
        return self.judge is not None and names[0] == names[1]

    @property
    def looked_for(self) -> Answer | None:
        """The kind of answer; text where there are references and nobody says."""
        own = self.answer or self.prompt.content.answer
        return Answer(kind="text") if own is None and self.data.answer is not None else own

    @property
    def compared_as(self) -> Answer | None:
        """The kind of answer that references are read as."""
        return self.looked_for if self.metric == "answer" else Answer(kind="text")

    def task(self, item: Item) -> Task:
        """An item as it is asked. Raises `PromptError`."""
        task = self.prompt.render(item.variables, self._task_id(item))
        sampling = replace(task.sampling, **self.sampling)
        if sampling.seed is not None:
            sampling = replace(sampling, seed=(sampling.seed + SEED_STEP * item.row) % 2**63)
        return replace(task, sampling=sampling, answer=self.looked_for)

    def _task_id(self, item: Item) -> str:
        """The id an item has among demonstrations, which are told apart by ids within one file only."""
        few = self.technique.settings.get("few_shot")
        name = getattr(few, "file", None)
        if name is None or find_file(name).resolve() != self.data.path.resolve():
            return f"{self.data.path.name}:{item.row}"
        column = few.columns.id  # type: ignore[union-attr]
        return str(item.row) if column is None else str(item.variables.get(column, item.id))

    @cached_property
    def record(self) -> dict[str, Any]:
        """All of it as plain JSON; files are read for it once. Raises `DataError`."""
        data = self.data
        return {
            "prompt": {
                "name": self.prompt.name,
                "version": self.prompt.version,
                "text": self.prompt.text,
            },
            "technique": {"name": self.technique.name, "parts": self.technique.specification()},
            "demonstrations": self._demonstrations(),
            "model": dict(self.model),
            "embedder": self.embedder,
            "collections": searched(self.technique),
            "data": {
                "path": str(data.path),
                "sha256": digest(data.path),
                "columns": dict(data.columns),
                "header": list(data.header),
                "answer": data.answer,
                "id": data.id,
                "names": dict(data.names),
                "chosen": self.chosen,
            },
            "variables": _plain(self.variables),
            "sampling": _plain(self.sampling),
            "answer": None if self.answer is None else self.answer.model_dump(mode="json"),
            "metric": self.metric,
            "samples": self.samples,
            "judge": self._judge(),
        }

    def _judge(self) -> dict[str, Any] | None:
        if self.judge is None:
            return None
        told = self.judge.model_dump(mode="json", exclude={"model"})
        return {"model": dict(self.judge_model), **told, "instructions": VERSION}

    def _demonstrations(self) -> str | None:
        """The hash of the file that demonstrations come from."""
        name = getattr(self.technique.settings.get("few_shot"), "file", None)
        return None if name is None else digest(find_file(name))

    def name(self) -> str:
        """A name that says what it is; another setup has another."""
        text = json.dumps(flat(self.record))
        parts = (self.prompt.name or "prompt", self.technique.name, Path(str(self.model["name"])).name)
        word = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(part for part in parts if part)).strip("-.")[:120]
        return f"{word}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def check_same(evaluation: Evaluation, setup: Mapping[str, Any]) -> None:
    """Refuse to go on with an evaluation that was begun with another setup, naming the difference.

    Raises `UsageError`, and `RunError` where the settings are damaged.
    """
    before, now = dict(flat(evaluation.settings())), dict(flat(setup))
    changed = [key for key in dict.fromkeys([*before, *now]) if before.get(key) != now.get(key)]
    other = [key.removeprefix(COLLECTION) for key in changed if key.startswith(COLLECTION)]
    if other and len(other) == len(changed):
        names = " and ".join(f"“{name}”" for name in other)
        raise UsageError(
            f"the evaluation “{evaluation.name}” was begun with other documents in the collection {names}: "
            "its answers would be from both",
            where=str(evaluation.path),
            hint="give this one another --name, or ingest the documents of then again",
        )
    if changed:
        lines = [f"{key}: {_short(before.get(key))} → {_short(now.get(key))}" for key in changed]
        raise UsageError(
            f"the evaluation “{evaluation.name}” was begun with other settings: {'; '.join(lines)}",
            where=str(evaluation.path),
            hint="give this one another --name, or go on with the settings of that one",
        )


def flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Every leaf that has to stay the same, by its dotted path, as JSON."""
    found: list[tuple[str, str]] = []
    for key, item in value.items():
        path = f"{prefix}{key}"
        if isinstance(item, Mapping) and item:
            found += flat(item, f"{path}.")
        elif path not in ALSO_KEPT and item not in (None, {}, []):
            found.append((path, json.dumps(item, ensure_ascii=False, sort_keys=True)))
    return found


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(dict(values), default=str)))


def _short(text: str | None) -> str:
    if text is None:
        return "nothing"
    return text if len(text) <= 60 else f"{text[:59]}…"
