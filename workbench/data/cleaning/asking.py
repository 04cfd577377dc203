"""`python -m workbench.data.cleaning.asking`: answers questions about a recipe of cleaning, without cleaning.

One request as JSON on standard input, one answer as the last line of standard output.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from workbench.data.cleaning.blocks import GLOBAL, make_step
from workbench.data.cleaning.driver import Driver
from workbench.data.cleaning.layout import Layout
from workbench.data.cleaning.lost import lost_items
from workbench.data.cleaning.plan import make_plan
from workbench.data.cleaning.sample import SHARDS, distribution
from workbench.data.cleaning.slurm import slurm_script
from workbench.data.cleaning.stages import stages_of
from workbench.errors import DataError, WorkbenchError
from workbench.recipe.cleaning import CleaningRecipe, validate_cleaning
from workbench.recipe.load import dump
from workbench.store.cleaning import Cleaning
from workbench.store.cleaning_log import StepLogReader
from workbench.store.cleaning_steps import StepReader
from workbench.store.status import Status

EXAMPLES = 3


def dry_run(recipe: CleaningRecipe, count: int) -> dict[str, Any]:
    """Clean `count` records from all over the sources in a folder that is then removed, and say what
    happened."""
    recipe.run.name, recipe.output.folder = recipe.run.name or "dry-run", None
    recipe.executor.kind, recipe.executor.workers = "local", 1
    folder = Path(tempfile.mkdtemp(prefix="workbench-cleaning-"))
    try:
        cleaning = Cleaning(folder)
        cleaning.recipe_path.write_text(dump(recipe), encoding="utf-8")
        plan = make_plan(recipe)
        some = plan.shards[:: max(1, -(-len(plan.shards) // SHARDS))]
        plan = replace(plan, shards=some, each=-(-count // max(1, len(some))))
        layout = Layout(folder)
        layout.plan.write_bytes(plan.to_json())
        stopped = ""
        try:
            Driver(cleaning, Status()).run(checks=False)
        except DataError as error:
            stopped = error.render()
        return {"stopped": stopped, "steps": _steps(cleaning, recipe, layout), "kind": plan.kind}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _steps(cleaning: Cleaning, recipe: CleaningRecipe, layout: Layout) -> list[dict[str, Any]]:
    found = []
    for counts, name in zip(StepReader(cleaning).read(), recipe.steps(), strict=True):
        if not counts.came:
            break
        # These have no rules with bounds, and what they go by is gone with the work folder.
        bare = name in GLOBAL or name == "decontamination"
        rules = {} if bare else make_step(name, recipe, layout, 0).rules()
        log = StepLogReader(cleaning, name)
        lost = {
            reason: lost_items(layout.step(counts.number, name), reason)
            for reason in counts.reasons
            if reason in rules
        }
        observed = [
            {
                "reason": reason,
                "key": rules[reason].key,
                "measures": rules[reason].measures,
                "wants": rules[reason].wants,
                "observed": distribution(rules[reason], items),
            }
            for reason, items in lost.items()
            if items
        ]
        found.append({**counts.as_dict(), "rules": observed, "examples": log.page(0, EXAMPLES)})
    return found


def plan_of(recipe: CleaningRecipe) -> dict[str, Any]:
    """The shards and stages of a recipe; for Slurm, the script of its first stage."""
    folder = Path(tempfile.mkdtemp(prefix="workbench-cleaning-"))
    try:
        Cleaning(folder).recipe_path.write_text(dump(recipe), encoding="utf-8")
        plan = make_plan(recipe)
        stages = stages_of(recipe, Layout(folder), plan)
        answer: dict[str, Any] = {
            "kind": plan.kind,
            "shards": len(plan.shards),
            "stages": [{"name": stage.name, "steps": list(stage.steps)} for stage in stages],
        }
        if recipe.executor.kind == "slurm":
            blocks, tasks = stages[0].make()
            logs = folder / "logs" / stages[0].name
            script = slurm_script(recipe.executor, stages[0].name, blocks, tasks, logs)
            answer["script"] = script.replace(str(folder), "FOLDER")
        return answer
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    recipe = validate_cleaning(request["recipe"], "recipe")
    return dry_run(recipe, int(request["count"])) if request["do"] == "dry_run" else plan_of(recipe)


def _leave(number: int, frame: FrameType | None) -> None:
    # Once: a second one would cut the tidying short.
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> int:
    """Answer one request; a SIGTERM leaves nothing behind either."""
    signal.signal(signal.SIGTERM, _leave)
    out = os.dup(1)
    os.dup2(2, 1)  # whatever is printed on the way is talk
    request = json.loads(sys.stdin.buffer.read())
    try:
        answer: dict[str, Any] = {"result": _answer(request)}
    except WorkbenchError as error:
        answer = {"error": {"class": type(error).__name__, **error.as_dict()}}
    with os.fdopen(out, "wb") as stream:
        stream.write(json.dumps(answer).encode("utf-8", "replace") + b"\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
