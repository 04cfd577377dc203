"""`workbench scale fit`: the law of a study's runs, or of a table of anybody's, with intervals and doubts."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from workbench.cli import parser as grammar

EXAMPLE = """workbench scale fit tiny-decoders
workbench scale fit tiny-decoders --count non_embedding --leave-out tiny-decoders-c1-n49.3k
workbench scale fit my-runs.csv --json      a table with the columns N, D, loss and, if known, flops"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "fit",
        run,
        help="fit L(N, D) and the compute-optimal frontier, with bootstrap intervals",
        description="Fit L(N, D) = E + A/N^α + B/D^β to the finished runs of a study, or to a table, by a\n"
        "Huber loss in log space (Hoffmann et al. 2022, approach 3; Besiroglu et al. 2024), with\n"
        "bootstrap intervals; a second form (Kaplan et al. 2020, with a floor), and how each predicts the\n"
        "higher budgets from the lower; IsoFLOP parabolas (approach 2); the loss at fixed ratios.",
        example=EXAMPLE,
    )
    parser.add_argument("study", metavar="STUDY | TABLE", help="a study, or a CSV of your own runs")
    parser.add_argument(
        "--count", choices=("total", "non_embedding"), help="which parameters N counts; the study's otherwise"
    )
    parser.add_argument("--leave-out", metavar="RUN", action="append", default=[], help="do not fit this run")
    parser.add_argument("--bootstrap", metavar="N", type=_draws, default=400, help="resamples (400)")
    parser.add_argument("--level", metavar="P", type=_share, default=0.95, help="of the intervals (0.95)")
    parser.add_argument("--no-charts", action="store_true", help="only the figures")
    grammar.add_json(parser)


def _draws(text: str) -> int:
    if not text.isdigit() or not 20 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"“{text}” is no number of resamples from 20 to 100,000")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"“{text}” is no share between 0 and 1")
    return value


def run(args: argparse.Namespace) -> int:
    """Handle `workbench scale fit`."""
    from workbench.cli import render
    from workbench.cli.scale_fit_page import page
    from workbench.store.scaling_prediction import predicted_by

    found = fit(args)
    if args.json:
        print(render.as_json(found))
    else:
        print(page(found, predicted_by(args.study), charts=not args.no_charts))
    return 0


def fit(args: argparse.Namespace) -> dict[str, Any]:
    """The fit of a study, which is kept with it, or of a table."""
    from pathlib import Path

    from workbench.scaling import fit_file
    from workbench.scaling.fitting.points import read_points
    from workbench.scaling.fitting.report import report_on
    from workbench.scaling.results import ASKED, results_of
    from workbench.scaling.study_files import fit_study
    from workbench.store.scaling_studies import find_study

    path = Path(args.study).expanduser()
    if path.suffix.lower() in (".csv", ".tsv"):
        runs = read_points(path)
        _require_known(args.leave_out, {run.name for run in runs}, "table")
        points = [run for run in runs if run.name not in args.leave_out]
        report = report_on(
            points,
            args.count or "total",
            where=str(path),
            resamples=args.bootstrap,
            level=args.level,
            progress=_progress,
        )
        return fit_file.as_dict(report, dict.fromkeys(args.leave_out, ASKED))
    study = find_study(args.study)
    known = {*(results := results_of(study, "total")).left_out, *(run.name for run in results.points)}
    _require_known(args.leave_out, known, "study")
    return fit_study(
        study,
        count=args.count,
        leave_out=args.leave_out,
        resamples=args.bootstrap,
        level=args.level,
        progress=_progress,
    )


def _require_known(names: list[str], known: set[str], of: str) -> None:
    """Raise `UsageError` for a run to leave out that there is not."""
    from workbench.errors import UsageError

    for name in names:
        if name not in known:
            hint = grammar.suggestion(name, sorted(known))
            raise UsageError(f"the {of} has no run “{name}”", where="--leave-out", hint=hint)


def _progress(done: int, total: int) -> None:
    from workbench.cli import render

    if render.is_terminal(sys.stderr) and (done % 10 == 0 or done == total):
        end = "\r\x1b[K" if done == total else ""
        print(f"\r\x1b[Kresample {done:,} of {total:,}{end}", end="", file=sys.stderr, flush=True)
