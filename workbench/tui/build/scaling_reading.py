"""Reading studies from disk for the view of scaling laws, and having commands done apart."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import paths
from workbench.errors import WorkbenchError
from workbench.store.answering import answer_of
from workbench.store.runs import Run
from workbench.store.scaling_prediction import Predicted, predicted_by
from workbench.store.scaling_studies import Study, list_studies


@dataclass(frozen=True)
class Reading:
    """All studies, in a line each, and everything about one; `view` is None where it is damaged, or where
    there is none. `predicted` are the runs that its law predicted. `stamp` changes when its fit or its sums
    do."""

    rows: tuple[tuple[str, str, str], ...] = ()
    name: str = ""
    view: dict[str, Any] | None = None
    fit: dict[str, Any] | None = None
    emergence: dict[str, Any] | None = None
    problem: str = ""
    predicted: tuple[Predicted, ...] = ()
    stamp: tuple[int, ...] = ()


class Reader:
    """Reads again and again; fits, which are long, only when they changed."""

    def __init__(self) -> None:
        self._last = Reading()

    def read(self, chosen: str) -> Reading:
        """The studies, and the one that is chosen, or the newest. Raises `WorkbenchError` where the folder of
        studies cannot be read."""
        from workbench.scaling.queue import progress
        from workbench.scaling.study_files import kept_fit

        rows, studies = [], list_studies()
        for study in studies:
            try:
                found = progress(study)
                counts = found["counts"]
                rows.append((study.name, str(found["state"]), f"{counts['done']}/{sum(counts.values())}"))
            except (WorkbenchError, KeyError, TypeError, ValueError):
                rows.append((study.name, "damaged", ""))
        by_name = {study.name: study for study in studies}
        own = by_name.get(chosen) or (studies[0] if studies else None)
        if own is None:
            self._last = Reading()
            return self._last
        stamp: tuple[int, ...] = (_stamp(own.fit_path), _stamp(own.emergence_path))
        last = self._last
        fit, sums, problem, view = last.fit, last.emergence, "", None
        predicted: tuple[Predicted, ...] = ()
        try:
            view = view_of(own)
            predicted = predicted_by(own.name)
            if (own.name, stamp) != (last.name, last.stamp):
                fit, sums = kept_fit(own), own.emergence()
        except (WorkbenchError, KeyError, TypeError, ValueError) as error:
            # The next reading reads all of it, for it may have been mended by then.
            fit, sums, problem, stamp = None, None, f"the study cannot be read: {error}", ()
        self._last = Reading(tuple(rows), own.name, view, fit, sums, problem, predicted, stamp)
        return self._last


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def view_of(study: Study) -> dict[str, Any]:
    """How far a study is, with the state of each of its runs."""
    from workbench.scaling.plan import Plan
    from workbench.scaling.queue import progress

    plan, state = Plan.from_dict(study.plan()), study.queue()
    runs = []
    for planned in plan.runs:
        entry = state.runs.get(planned.name, {})
        status = Run(paths.runs_dir() / planned.name).status()
        runs.append(
            {
                "name": planned.name,
                "queue": str(entry.get("state", "waiting")),
                "parameters": planned.parameters,
                "tokens": planned.tokens,
                "flops": planned.flops,
                "step": status.step,
                "steps": planned.steps,
                "eval_loss": status.eval_loss,
                "error": str(entry.get("error", "")),
            }
        )
    return {**progress(study), "runs": runs, "notes": list(plan.notes), "begun": bool(state.runs)}


class CommandFailed(WorkbenchError):
    """A command that did not do; its own words."""

    title = "Scaling"


def command(arguments: Sequence[str], stopped: Callable[[], bool] = lambda: False) -> Any:
    """What `workbench scale …` answers as JSON, from a process of its own, for fits and imports take long.

    The process is ended once `stopped` says so. Raises `CommandFailed` with what it said.
    """
    line = [sys.executable, "-m", "workbench", "scale", *arguments, "--json"]
    code, answered, told_why = answer_of(line, stopped=stopped)
    out, err = (text.decode(errors="replace") for text in (answered, told_why))
    said = [text for text in err.splitlines() if text.strip()]
    if code == 0:
        try:
            return json.loads(out)
        except ValueError:
            raise CommandFailed(f"scale {arguments[0]} gave no answer that can be read") from None
    told = {
        name: text.partition(":")[2].strip()
        for text in said[-3:]
        for name in ("where", "try")
        if text.strip().startswith(f"{name}:")
    }
    first = next((text for text in said if ": " in text and not text.startswith(" ")), "") or "it failed"
    raise CommandFailed(
        first.partition(": ")[2] or first, where=told.get("where", ""), hint=told.get("try", "")
    )
