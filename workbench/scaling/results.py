"""What the runs of a study came to: the points that laws are fitted to."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from workbench import paths
from workbench.scaling.fitting.points import Point
from workbench.scaling.laws import Count
from workbench.scaling.plan import Plan, PlannedRun
from workbench.store.runs import Run
from workbench.store.scaling_studies import Study
from workbench.store.status import Status

ASKED, OTHERS = "left out, as asked", "a run of the same name that is not of this study"


@dataclass(frozen=True)
class Results:
    """The `points` of finished runs, and why others are not among them, by name."""

    points: tuple[Point, ...]
    left_out: dict[str, str]


def results_of(study: Study, count: Count, leave_out: Collection[str] = ()) -> Results:
    """The held-out losses at the ends of a study's runs; N as counted."""
    plan = Plan.from_dict(study.plan())
    points, missing = [], {}
    for planned in plan.runs:
        run = Run(paths.runs_dir() / planned.name)
        status = run.status()
        if planned.name in leave_out:
            missing[planned.name] = ASKED
        elif status.state == "unknown":
            missing[planned.name] = "not begun"
        elif status.state != "finished":
            missing[planned.name] = f"not finished: {status.seen_state()}"
        elif status.eval_loss is None or not math.isfinite(status.eval_loss):
            missing[planned.name] = "no held-out loss, or none that is finite"
        elif run.recipe().run.description != planned.description:
            missing[planned.name] = OTHERS
        else:
            points.append(_point(planned, status, count))
    return Results(tuple(points), missing)


def _point(planned: PlannedRun, status: Status, count: Count) -> Point:
    assert status.eval_loss is not None
    # A tokenizer trained on little text has fewer entries than asked for: then the model is smaller.
    total = status.num_parameters or planned.parameters
    tokens = float(status.num_tokens or planned.tokens)
    unique = min(tokens, tokens / status.epoch) if status.epoch > 0 else None
    return Point(
        planned.name,
        float(total if count == "total" else planned.non_embedding),
        tokens,
        float(status.eval_loss),
        planned.flops,
        planned.level,
        unique,
    )
