"""A study of scaling from plan to verdict: a grid of runs, the law, a run of eight times the most compute
predicted before it begins, and sums asked of a second study's models.

    python tests/benchmarks/scaling_study.py [--share 1.0] [--jobs 2] [--factor 8] [--seeds 2] [--no-sums]
        [--home DIR] [--study tiny-decoders] [--sums tiny-sums]

Everything is done by the commands that a person would type. With `--home` it goes on where it was killed.
`--share 0.1` spends a tenth of the compute on twelve runs. Prints JSON: the law of both forms with intervals
and backtests, the noise of a run over seeds, the prediction and its error, the table of emergence, and the
seconds that each part took; `passed`: the prediction is within 3 % of the loss, which lies in its interval.
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
from workbench.recipe import load
from workbench.scaling.study_files import load_spec
from workbench.store import launch
from workbench.store.runs import Run, create_run, find_run
from workbench.store.scaling_prediction import outcome_of, read_prediction
from workbench.store.scaling_studies import list_studies

KEPT = ("count", "coefficients", "exponents", "intervals", "r_squared", "leave_largest_out", "joint",
        "backtests", "rates", "weights", "doubts")  # fmt: skip
CLOSE = 0.03
DAY = 86400.0


def workbench(*words: str) -> Any:
    """What `workbench …` answers; its talk goes to standard error."""
    done = subprocess.run([sys.executable, "-m", "workbench", *words, "--json"], stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(f"workbench {' '.join(words)} failed")
    return json.loads(done.stdout)


def rules_for(share: float) -> list[str]:
    """What a study of less compute changes, beside its budget: fewer runs, twelve at least."""
    return [] if share >= 0.5 else ["rules.least_steps=40", "isoflop.levels=4", "isoflop.sizes=3"]


def make(name: str, preset: str, share: float, jobs: int) -> None:
    """Plan a study where it was not, and run it."""
    if name not in [found.name for found in list_studies()]:
        budget = (load_spec(preset).budget.flops or 0.0) * share
        workbench("scale", "plan", preset, "--name", name, "--budget", f"{budget:g}", *rules_for(share))
    workbench("scale", "run", name, "--jobs", str(jobs))


def noise(name: str, runs: list[dict[str, Any]], seeds: int) -> dict[str, Any]:
    """The losses of a run of middling compute under other seeds, and their relative standard deviation."""
    middle = sorted(runs, key=lambda run: float(run["flops"]))[len(runs) // 2]
    losses = [float(middle["loss"])]
    for seed in range(1, seeds + 1):
        again = Run(paths.runs_dir() / f"{name}-seed{seed}")
        if not again.path.exists():
            source = str(find_run(middle["name"]).recipe_path)
            create_run(load(source, [f"training.seed={seed}", f"run.name={again.name}"]))
        losses.append(float(finish(again.name).status().eval_loss or float("nan")))
    mean = sum(losses) / len(losses)
    variance = sum((loss - mean) ** 2 for loss in losses) / max(1, len(losses) - 1)
    return {"run": middle["name"], "losses": losses, "relative": variance**0.5 / mean}


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
    parser.add_argument("--seeds", type=int, default=2, help="more runs of one, for the noise of a run")
    parser.add_argument("--sums", default="tiny-sums", help="the study of emergence")
    parser.add_argument("--no-sums", action="store_true")
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

    make(name, options.study, options.share, options.jobs)
    lap("runs")
    fit = workbench("scale", "fit", name)
    lap("fit")
    seeds = noise(name, fit["points"], options.seeds) if options.seeds else None
    lap("seeds")
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
    elif read_prediction(larger) is None:
        # Killed when the run was made and nothing yet kept with it: it has not begun.
        workbench("scale", "predict", name, "--run", larger.name)
    run = finish(larger.name)
    lap("larger run")
    prediction, status = read_prediction(run), run.status()
    assert prediction is not None
    outcome = outcome_of(prediction, status)
    assert outcome is not None
    sums = None
    if not options.no_sums:
        make("sums", options.sums, options.share, options.jobs)
        lap("runs with sums")
        sums = workbench("scale", "emergence", "sums")
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
            "forms": dict(prediction.forms),
            "interval": [prediction.low, prediction.high],
            "measured": outcome.loss,
            "relative_error": outcome.error,
            "inside": outcome.inside,
        },
        "noise": seeds,
        "passed": outcome.inside and abs(outcome.error) <= CLOSE,
        "emergence": sums
        and {
            "verdicts": sums["verdicts"],
            "rows": [
                {"parameters": model["parameters"], "tokens": model["tokens"], "flops": model["flops"], **row}
                for model in sums["models"]
                for row in model["rows"]
            ],
        },
    }


if __name__ == "__main__":
    main()
