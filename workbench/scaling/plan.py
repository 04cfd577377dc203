"""Planning a study: its runs under its budget, what each takes, and what is worth saying about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from workbench.errors import RunError, UsageError
from workbench.recipe import Recipe
from workbench.scaling import machine as machines
from workbench.scaling.fitting.points import LEAST_RUNS, LEAST_SIZES, distinct
from workbench.scaling.grid import Cell, cells_of, is_explicit
from workbench.scaling.laws import AnyLaw
from workbench.scaling.plan_notes import notes_on, short
from workbench.scaling.published import find_law
from workbench.scaling.recipes import base_recipe, learning_rate, rows_in_a_micro_batch
from workbench.scaling.shapes import Family
from workbench.scaling.spec import StudySpec
from workbench.units import duration


@dataclass(frozen=True)
class PlannedRun:
    """One run: its name in `runs/`, the model section's changes, and what it takes.

    `parameters` in all and `non_embedding`; `flops` of its whole training as counted from the shape; `level`
    the compute budget that it belongs to; `seconds` and `epochs` None where they are not known.
    """

    name: str
    description: str
    level: float | None
    shape: dict[str, Any]
    parameters: int
    non_embedding: int
    tokens: int
    steps: int
    flops: float
    learning_rate: float
    memory: int
    seconds: float | None
    epochs: float | None


@dataclass(frozen=True)
class Plan:
    """All runs of a study, small ones first, with `notes` for whoever decides about it."""

    runs: tuple[PlannedRun, ...]
    notes: tuple[str, ...]
    machine: str
    epoch_tokens: int | None

    @property
    def flops(self) -> float:
        """Of all runs."""
        return sum(run.flops for run in self.runs)

    @property
    def seconds(self) -> float | None:
        """Of all runs, one after the other."""
        parts = [run.seconds for run in self.runs]
        return None if any(part is None for part in parts) else sum(part or 0.0 for part in parts)

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "runs": [asdict(run) for run in self.runs],
            "notes": list(self.notes),
            "machine": self.machine,
            "epoch_tokens": self.epoch_tokens,
            "flops": self.flops,
            "seconds": self.seconds,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Plan:
        """What `as_dict` gave. Raises `RunError` where it was damaged."""
        known = {field.name for field in fields(PlannedRun)}
        try:
            runs = tuple(
                PlannedRun(**{key: item for key, item in run.items() if key in known})
                for run in value["runs"]
            )
            return cls(runs, tuple(value["notes"]), str(value["machine"]), value["epoch_tokens"])
        except (KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"the study's plan is damaged: {error}", where="plan.json", hint="workbench scale plan"
            ) from None


def make_plan(spec: StudySpec, name: str, *, where: str, epoch_tokens: int | None = None) -> Plan:
    """The plan of a study called `name`; `epoch_tokens` are those that its data holds, where that is known.

    Raises `RecipeError` for what makes no study, and `UsageError` for a budget too small to fit a law, saying
    what would be needed.
    """
    return _Planner(spec, name, where, epoch_tokens).plan()


class _Planner:
    def __init__(self, spec: StudySpec, name: str, where: str, epoch_tokens: int | None) -> None:
        self.spec, self.name, self.where, self.epoch_tokens = spec, name, where, epoch_tokens
        base = base_recipe(spec, where)
        rows_in_a_micro_batch(base, spec.rules)
        self.digest = _digest(base, spec)
        self.family = Family(base, spec.shapes, where)
        self.law: AnyLaw = find_law(spec.law).law
        half = base.training.bf16 or base.training.fp16
        self.machine = machines.machine_of(spec.budget, half=half, threads=base.launch.num_threads)

    def plan(self) -> Plan:
        budget = self._budget()
        runs = self._runs(self._cells(budget))
        if problem := self._too_small(runs):
            self._refuse(problem, budget)
        total = sum(run.flops for run in runs)
        if is_explicit(self.spec):
            self._fits(runs, total, budget)
        words = self.machine.words if self.machine else "not measured: --measure measures this machine"
        return Plan(tuple(runs), tuple(notes_on(runs, self.spec, self.law)), words, self.epoch_tokens)

    def _fits(self, runs: list[PlannedRun], total: float, budget: float | None) -> None:
        """Raise where an explicit grid takes more than the budget."""
        if self.spec.budget.hours is not None:
            hours = sum(run.seconds or 0.0 for run in runs) / 3600
            if hours > 1.02 * self.spec.budget.hours:
                raise UsageError(
                    f"the grid takes {hours:.3g} h, more than the budget of {self.spec.budget.hours:.3g} h",
                    where=self.where,
                    hint="leave out the budget, or make the grid smaller",
                )
        elif budget is not None and total > 1.02 * budget:
            raise UsageError(
                f"the grid takes {total:.3g} FLOPs, more than the budget of {budget:.3g}",
                where=self.where,
                hint="leave out the budget, or make the grid smaller",
            )

    def _budget(self) -> float | None:
        """In FLOPs; None where the grid is explicit and there is none."""
        budget = self.spec.budget
        if budget.flops is not None:
            return budget.flops
        if budget.hours is None:
            if is_explicit(self.spec):
                return None
            raise UsageError(
                "a study needs a budget",
                where=self.where,
                hint="--budget 2e14 (FLOPs), --budget 1.5h (on this machine), or --budget 8h --gpu H100",
            )
        machine = machines.require_machine(self.machine)
        wanted = budget.hours * 3600
        if is_explicit(self.spec):
            # What it takes is compared in time, with starts and slow small models.
            return None
        low, high = 1.0, wanted * machine.flops_per_second
        # How long a grid takes grows with its compute, so the largest that fits is found by halving.
        for _ in range(40):
            middle = (low * high) ** 0.5
            seconds = sum(run.seconds or 0.0 for run in self._runs(self._cells(middle)))
            low, high = (middle, high) if seconds <= wanted else (low, middle)
        return low

    def _cells(self, flops: float | None) -> list[Cell]:
        return cells_of(self.spec, self.family, self.law, flops)

    def _steps(self, cell: Cell) -> int:
        return max(1, round(cell.tokens / self.spec.rules.batch_tokens))

    def _runs(self, cells: list[Cell]) -> list[PlannedRun]:
        rules = self.spec.rules
        ordered = sorted(
            cells, key=lambda cell: (self._steps(cell) * cell.shape.flops_per_token, cell.shape.total)
        )
        levels = sorted({cell.level for cell in cells if cell.level is not None})
        found, taken = [], set()
        for cell in ordered:
            shape, steps = cell.shape, self._steps(cell)
            tokens = steps * rules.batch_tokens
            flops = tokens * shape.flops_per_token
            part = f"c{levels.index(cell.level) + 1}" if cell.level is not None else f"d{short(tokens)}"
            stem = f"{self.name}-{part}-n{short(shape.parameters(self.spec.shapes.count))}"
            name = next(
                one for one in (stem, *(f"{stem}-{number}" for number in range(2, 99))) if one not in taken
            )
            taken.add(name)
            found.append(
                PlannedRun(
                    name=name,
                    description=f"scaling study {self.name} ({self.digest}): {shape.total:,} parameters, "
                    f"{tokens:,} tokens",
                    level=cell.level,
                    shape=shape.changes(),
                    parameters=shape.total,
                    non_embedding=shape.non_embedding,
                    tokens=tokens,
                    steps=steps,
                    flops=flops,
                    learning_rate=float(f"{learning_rate(rules, shape, tokens):.4g}"),
                    memory=shape.memory,
                    seconds=self.machine.seconds(flops, steps, shape.total) if self.machine else None,
                    epochs=tokens / self.epoch_tokens if self.epoch_tokens else None,
                )
            )
        return found

    def _too_small(self, runs: list[PlannedRun]) -> str:
        """Why no law can be fitted to these; nothing where one can."""
        import numpy as np

        count = self.spec.shapes.count
        sizes = np.array([r.parameters if count == "total" else r.non_embedding for r in runs], np.float64)
        tokens = np.array([run.tokens for run in runs], np.float64)
        if len(runs) < LEAST_RUNS:
            return f"it makes {len(runs)} runs, and a law takes {LEAST_RUNS}"
        if distinct(sizes) < LEAST_SIZES:
            return f"it makes {distinct(sizes)} different sizes, and a law takes {LEAST_SIZES}"
        if distinct(tokens) < LEAST_SIZES:
            return f"it makes {distinct(tokens)} different numbers of tokens, and a law takes {LEAST_SIZES}"
        shortest = min(runs, key=lambda run: run.steps)
        if shortest.steps < self.spec.rules.least_steps:
            return (
                f"its shortest run would have {shortest.steps} steps of {self.spec.rules.batch_tokens:,} "
                f"tokens, and a run says something from {self.spec.rules.least_steps} on (rules.least_steps)"
            )
        for level in {run.level for run in runs if run.level is not None}:
            own = {(run.parameters, run.tokens) for run in runs if run.level == level}
            if len(own) < LEAST_SIZES:
                return (
                    f"at {level:.3g} FLOPs the sizes fall on {len(own)} shapes only (shapes.head_size and "
                    "shapes.aspect make few of so small ones); a parabola takes 3"
                )
        return ""

    def _refuse(self, problem: str, budget: float | None) -> None:
        """Raise, with the least budget that would do."""
        if is_explicit(self.spec) or budget is None:
            raise UsageError(
                f"the grid is too small to fit a law: {problem}",
                where=self.where,
                hint="name more or longer runs",
            )
        needed = self._least(budget)
        if needed is None:
            raise UsageError(
                f"no budget makes a law of this grid: {problem}",
                where=self.where,
                hint="more levels, more sizes, or a larger spread",
            )
        seconds = [run.seconds for run in self._runs(self._cells(needed))]
        time = "" if None in seconds else f" (about {duration(sum(part or 0.0 for part in seconds))})"
        raise UsageError(
            f"a budget of {budget:.3g} FLOPs is too small to fit a law: {problem}",
            where=self.where,
            hint=f"at least {needed:.2g} FLOPs{time}, fewer levels or sizes, or smaller rules.batch_tokens",
        )

    def _least(self, budget: float) -> float | None:
        low, high = budget, budget * 2
        while self._too_small(self._runs(self._cells(high))):
            low, high = high, high * 2
            if high > budget * 1e12:
                return None
        for _ in range(12):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if self._too_small(self._runs(self._cells(middle))) else (low, middle)
        # Rounded up, so that what is told does do.
        return high * 1.05


def _digest(base: Recipe, spec: StudySpec) -> str:
    """Stands for what all runs share, so that those of an older study of the same name are told from them."""
    sums = spec.arithmetic.model_dump(mode="json") if spec.arithmetic else None
    shared = [
        base.model_dump(mode="json", exclude={"run", "launch"}),
        spec.rules.model_dump(mode="json"),
        sums,
    ]
    return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:8]
