"""Trying the rules on a few records: before a cleaning begins, and for `--dry-run`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from workbench.data.cleaning.beside import ALL
from workbench.data.cleaning.blocks import GLOBAL, make_step
from workbench.data.cleaning.items import LABELS, Item
from workbench.data.cleaning.layout import Layout
from workbench.data.cleaning.plan import Plan, sources_of
from workbench.data.cleaning.reading import items_of
from workbench.data.cleaning.verdicts import Rule, Step
from workbench.errors import DataError
from workbench.recipe.cleaning import CleaningRecipe, StepName

SAMPLE, CHARACTERS = 400, 2_000_000
"""Records that are looked at before a cleaning begins, and their text, whichever comes first."""

ENOUGH = 20
"""Of fewer records that reach a step nothing is concluded, unless there are no more."""

SHARDS = 40
"""Shards that they are taken from, evenly spread."""


def sample_of(plan: Plan, recipe: CleaningRecipe, count: int) -> Iterator[Item]:
    """The first records of evenly spread shards, `count` in all."""
    sources = sources_of(recipe)
    some = plan.shards[:: max(1, -(-len(plan.shards) // SHARDS))]
    each = -(-count // len(some))
    room = CHARACTERS // len(some)
    found = (item for shard in some for item in _as_long(islice(items_of(plan, shard, sources), each), room))
    return islice(found, count)


def _as_long(items: Iterator[Item], room: int) -> Iterator[Item]:
    """Items until their text fills the room."""
    for item in items:
        yield item
        room -= len(item.text)
        if room <= 0:
            return


def _size(items: list[Item]) -> int:
    return sum(len(item.text) for item in items)


@dataclass
class Trial:
    """What a step did to the records of a sample that reached it."""

    name: StepName
    came: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    changed: int = 0
    lost: list[Item] = field(default_factory=list)
    step: Step | None = None

    @property
    def all_gone(self) -> bool:
        return self.came > 0 and self.dropped.total() == self.came


def try_steps(items: list[Item], recipe: CleaningRecipe, layout: Layout) -> list[Trial]:
    """Put a sample through the steps that judge one record at a time, until none is left."""
    trials: list[Trial] = []
    for name in recipe.steps():
        if name in GLOBAL:
            continue
        trial = Trial(name, step=make_step(name, recipe, layout, 0))
        assert trial.step is not None
        kept: list[Item] = []
        for item in items:
            trial.came += 1
            before = item.texts
            verdict = trial.step.judge(item)
            if verdict.action == "dropped":
                trial.dropped[verdict.reason] += 1
                # As it was before the step: that is what its rules are measured on.
                item.restore(before)
                trial.lost.append(item)
            else:
                trial.changed += verdict.action == "changed"
                kept.append(item)
        trials.append(trial)
        items = kept
        if not items:
            break
    return trials


def check_sample(plan: Plan, recipe: CleaningRecipe, layout: Layout) -> None:
    """Raise `DataError` where a step drops every record of a sample that reaches it."""
    items = list(sample_of(plan, recipe, SAMPLE))
    whole = len(plan.shards) == 1 and len(items) < SAMPLE and _size(items) < CHARACTERS
    if not items:
        raise DataError(
            "the sources hold no records", where=", ".join(spec.path for spec in recipe.data.sources)
        )
    _check_columns(items, plan.kind, recipe)
    for trial in try_steps(items, recipe, layout):
        if trial.all_gone and (trial.came >= ENOUGH or whole):
            rest = "" if whole else f" of a sample of {len(items):,}"
            raise drops_everything(trial.name, trial.came, trial.dropped, rest, trial.step, trial.lost)


def _check_columns(items: list[Item], kind: str, recipe: CleaningRecipe) -> None:
    """Raise `DataError` where a column in which personal data is to be looked for is in no record, or holds
    the labels, which stay as they are."""
    if "pii" not in recipe.steps():
        return
    known = {column for item in items for column in item.values}
    for column in recipe.pii.columns:
        if column == LABELS.get(kind):
            raise DataError(
                f"the column “{column}” holds the labels of records of the kind {kind}, which stay",
                where="pii.columns",
            )
        if column != ALL and column not in known:
            raise DataError(
                f"no record of a sample of {len(items):,} has the column “{column}”",
                where="pii.columns",
                hint=f"they have {', '.join(sorted(known))}; one that is seldom there is among ['*'], all",
            )


def drops_everything(
    name: str, came: int, reasons: Counter[str], rest: str, step: Step | None, lost: list[Item]
) -> DataError:
    """The error for a step that leaves nothing: which rule does it, and what it measured."""
    reason, count = reasons.most_common(1)[0]
    every = "the only record" if came == 1 else f"all {came:,} records"
    if rest:
        every += f" that reach{'es' * (came == 1)} it,{rest}"
    message = f"the step {name} drops {every}: {count:,} by its rule {reason}"
    rule = step.rules().get(reason) if step is not None else None
    if rule is None or not lost:
        return DataError(message, where=f"{name}, {reason}", hint=f"{name}.enabled=false leaves the step out")
    told = distribution(rule, lost)
    return DataError(
        f"{message}, which wants {rule.measures} {rule.wants}; observed: {told}",
        where=rule.key,
        hint=f"set {rule.key} to what the records have, or {name}.enabled=false",
    )


def distribution(rule: Rule, items: list[Item]) -> str:
    """What a rule measures over some records."""
    values = np.array([rule.measure(item) for item in items[:SAMPLE]])
    low, quarter, middle, three, high = map(_figure, np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))
    if low == high:
        return low
    quarters = f"a quarter below {quarter}, half below {middle}, three quarters below {three}"
    return f"least {low}, {quarters}, most {high}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
