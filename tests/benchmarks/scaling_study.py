"""A study of scaling from plan to verdict: a grid of runs, the law, a run of eight times the most compute
predicted before it begins, and sums asked of every size.

    python tests/benchmarks/scaling_study.py [--share 1.0] [--jobs 2] [--factor 8] [--home DIR] [--study NAME]

Everything is done by the commands that a person would type. With `--home` it goes on where it was killed.
`--share 0.1` spends a tenth of the compute on nine runs. Prints JSON: the law with intervals, the prediction
and its error, the table of emergence, and the seconds that each part took.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from workbench import paths
from workbench.scaling.study_files import load_spec
from workbench.store import launch
from workbench.store.runs import Run, find_run
from workbench.store.scaling_prediction import outcome_of, read_prediction
from workbench.store.scaling_studies import list_studies

KEPT = ("count", "coefficients", "exponents", "intervals", "r_squared", "leave_largest_out", "doubts")
DAY = 86400.0


def workbench(*words: str) -> Any:
    """What `workbench …` answers; its talk goes to standard error."""
    done = subprocess.run([sys.executable, "-m", "workbench", *words, "--json"], stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(f"workbench {' '.join(words)} failed")
    return json.loads(done.stdout)


def rules_for(share: float) -> list[str]:
    """What a study of less compute changes, beside its budget: fewer runs of smaller steps."""
    fewer = ["isoflop.levels=3", "isoflop.sizes=3", "isoflop.spread=2"]
    return [] if share >= 0.5 else ["rules.batch_tokens=1024", "rules.least_steps=40", *fewer]


def finish(name: str) -> Run:
    """Wait for a run; one that was lost goes on."""
    run = find_run(name)
    while run.status().state != "finished":
        if not run.status().is_active:
            launch.start(run)
        launch.wait(run, DAY)
        if run.status().state == "failed":
            raise SystemExit(f"{name} failed: {run.status().message}")
    return run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--study", default="tiny-decoders")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--factor", type=float, default=8.0)
    parser.add_argument(
        "--threads", type=int, default=2, help="of the larger run, which has the machine alone"
    )
    parser.add_argument("--home", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ[paths.HOME_VARIABLE] = str((options.home or Path(scratch)).resolve())
        print(json.dumps(study(options), indent=1))


def study(options: argparse.Namespace) -> dict[str, Any]:
    """All of it."""
    name, spent, began = "study", {}, time.monotonic()

    def lap(what: str) -> None:
        nonlocal began
        spent[what], began = round(time.monotonic() - began, 1), time.monotonic()

    if name not in [found.name for found in list_studies()]:
        budget = (load_spec(options.study).budget.flops or 0.0) * options.share
        workbench("scale", "plan", options.study, "--name", name, "--budget", f"{budget:g}",
                  *rules_for(options.share))  # fmt: skip
    lap("plan")
    workbench("scale", "run", name, "--jobs", str(options.jobs))
    lap("runs")
    fit = workbench("scale", "fit", name)
    lap("fit")
    larger = Run(paths.runs_dir() / f"{name}-larger")
    if not larger.path.exists():
        workbench(
            "scale",
            "predict",
            name,
            f"launch.num_threads={options.threads}",
            "--compute",
            f"{options.factor:g}x",
            "--start",
            "--name",
            larger.name,
        )
    run = finish(larger.name)
    lap("larger run")
    prediction, status = read_prediction(run), run.status()
    assert prediction is not None
    outcome = outcome_of(prediction, status)
    assert outcome is not None
    sums = workbench("scale", "emergence", name, "--also", run.name)
    lap("sums")
    return {
        "seconds": spent,
        "runs": len(fit["points"]),
        "law": {key: fit[key] for key in KEPT},
        "isoflop": {key: fit["isoflop"][key] for key in ("parameters", "tokens", "intervals")},
        "worst_residual": max(abs(one["error"]) for one in fit["residuals"]),
        "points": [
            {key: point[key] for key in ("name", "parameters", "tokens", "loss", "flops")}
            for point in fit["points"]
        ],
        "prediction": {
            "factor": prediction.factor,
            "parameters": prediction.parameters,
            "tokens": prediction.tokens,
            "flops": prediction.flops,
            "predicted": prediction.loss,
            "interval": [prediction.low, prediction.high],
            "measured": outcome.loss,
            "relative_error": outcome.error,
            "inside": outcome.inside,
        },
        "emergence": {
            "verdicts": sums["verdicts"],
            "rows": [
                {"parameters": model["parameters"], "tokens": model["tokens"], **row}
                for model in sums["models"]
                for row in model["rows"]
            ],
        },
    }


if __name__ == "__main__":
    main()
