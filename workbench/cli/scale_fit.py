"""`workbench scale fit`: the law of a study's runs, or of a table of anybody's, with intervals and doubts."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from workbench.cli import parser as grammar

EXAMPLE = """workbench scale fit tiny-decoders
workbench scale fit tiny-decoders --count non_embedding --leave-out tiny-decoders-c1-n49.3k
workbench scale fit my-runs.csv --json      a table with the columns N, D, loss and, if known, flops"""
NAMES = {"alpha": "α", "beta": "β"}


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "fit",
        run,
        help="fit L(N, D) and the compute-optimal frontier, with bootstrap intervals",
        description="Fit L(N, D) = E + A/N^α + B/D^β to the finished runs of a study, or to a table, by a\n"
        "Huber loss in log space (Hoffmann et al. 2022, approach 3; Besiroglu et al. 2024), with\n"
        "bootstrap intervals; IsoFLOP parabolas (approach 2); the loss at fixed ratios.",
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

    found = fit(args)
    if args.json:
        print(render.as_json(found))
    else:
        print(page(found, charts=not args.no_charts))
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


def page(found: dict[str, Any], *, charts: bool) -> str:
    """A fit for a person."""
    from workbench.cli import render
    from workbench.cli.scale_chart import still
    from workbench.scaling import figures

    parts = [
        _law(found),
        _titled("compute-optimal frontier", _frontier(found)),
        _titled("IsoFLOP parabolas (approach 2)", _isoflop(found)),
    ]
    if found["fixed_ratio"]:
        parts.append(_titled("at fixed ratios: L(C) = E + K/C^γ", _ratios(found)))
    parts.append(_titled("goodness of fit", _goodness(found)))
    parts.append(_titled("residuals", _residuals(found)))
    parts.append(_titled("beside published laws", _published(found)))
    if charts:
        parts += [still(figures.loss_figure(found))]
        if found["isoflop"]["parabolas"]:
            parts.append(still(figures.isoflop_figure(found)))
    parts += [f"doubt: {render.literal(words)}" for words in found["doubts"]]
    if found["left_out"]:
        lines = [(render.literal(name), render.literal(why)) for name, why in found["left_out"].items()]
        parts.append(_titled("not fitted", render.pairs(lines, "  ")))
    return "\n\n".join(parts)


def _titled(title: str, body: str) -> str:
    from workbench.cli import render

    return f"{render.style(title, 'bold')}\n{body}"


def _law(found: dict[str, Any]) -> str:
    from workbench.cli import render
    from workbench.scaling.laws import COUNT_WORDS

    rows = [
        (NAMES.get(name, name), f"{value:.5g}", _interval(found["intervals"][name]))
        for name, value in found["coefficients"].items()
    ]
    title = f"L(N, D) = E + A/N^α + B/D^β, N: {COUNT_WORDS[found['count']]}, {len(found['points'])} runs"
    repeats = "\n  D: tokens seen again count for what they are worth" if found["repeats_counted"] else ""
    headers = ("", "fitted", f"{found['level']:.0%} interval")
    return _titled(title + repeats, render.table(headers, rows, right=(1,)))


def _interval(ends: list[float]) -> str:
    return f"[{ends[0]:.4g}, {ends[1]:.4g}]"


def _frontier(found: dict[str, Any]) -> str:
    from workbench.cli import render

    exponents, intervals = found["exponents"], found["intervals"]
    words = (
        f"  N_opt ∝ C^{exponents['a']:.3f} {_interval(intervals['a'])}, "
        f"D_opt ∝ C^{exponents['b']:.3f} {_interval(intervals['b'])}, "
        f"C = {found['flops_per_parameter']:.2f}·N·D"
    )
    rows = [
        (
            f"{row['flops']:.2e}",
            render.count(row["parameters"]),
            render.count(row["tokens"]),
            f"{row['tokens'] / row['parameters']:.1f}",
            f"{row['loss']:.4f}",
        )
        for row in [*found["frontier"][:-2:4], *found["frontier"][-3:]]
    ]
    return f"{words}\n{render.table(('FLOPs', 'N_opt', 'D_opt', 'D/N', 'loss'), rows, right=range(5))}"


def _isoflop(found: dict[str, Any]) -> str:
    from workbench.cli import render

    section = found["isoflop"]
    if not section["parabolas"]:
        return "  none: no compute budget has three sizes"
    rows = []
    for one in section["parabolas"]:
        size = render.count(one["parameters"]) if one["parameters"] else "none"
        where = (
            ""
            if one["inside"]
            else "outside of the sizes that were run"
            if one["parameters"]
            else "no valley"
        )
        loss = f"{one['loss']:.4f}" if one["loss"] is not None else ""
        rows.append((f"{one['flops']:.2e}", size, render.count(one["tokens"]), loss, where))
    table = render.table(("FLOPs", "N at the minimum", "D", "loss", ""), rows, right=range(4))
    if section["parameters"] is None:
        return f"{table}\n  fewer than two minima lie among the sizes that were run: no power law"
    a, b = section["parameters"]["exponent"], section["tokens"]["exponent"]
    told = {name: _interval(ends) for name, ends in section["intervals"].items()}
    return f"{table}\n  N_opt ∝ C^{a:.3f} {told.get('a', '')}, D_opt ∝ C^{b:.3f} {told.get('b', '')}"


def _ratios(found: dict[str, Any]) -> str:
    from workbench.cli import render

    rows = [
        (
            f"{one['ratio']:.3g}",
            str(len(one["runs"])),
            f"{one['E']:.4g}",
            f"{one['K']:.4g}",
            f"{one['gamma']:.3f}",
            f"{one['worst']:.2%}",
        )
        for one in found["fixed_ratio"]
    ]
    return render.table(("D/N", "runs", "E", "K", "γ", "worst error"), rows, right=range(6))


def _goodness(found: dict[str, Any]) -> str:
    from workbench.cli import render

    errors = [abs(one["error"]) for one in found["residuals"]]
    rms = (sum(error**2 for error in errors) / len(errors)) ** 0.5
    facts = [
        ("R² of log loss", f"{found['r_squared']:.5f}"),
        ("relative errors", f"root mean square {rms:.2%}, worst {max(errors):.2%}"),
    ]
    left = found["leave_largest_out"]
    if left is None:
        facts.append(("largest left out", "too few runs to leave any out"))
    else:
        facts.append(
            (
                "largest left out",
                f"{len(left['runs'])} runs of {left['factor']:.1f}× the compute of the others, predicted by "
                f"them: worst error {left['worst']:+.2%}",
            )
        )
    return render.pairs(facts, "  ")


def _residuals(found: dict[str, Any]) -> str:
    from workbench.cli import render

    by_name = {point["name"]: point for point in found["points"]}
    rows = [
        (
            render.literal(one["name"]),
            render.count(by_name[one["name"]]["parameters"]),
            render.count(by_name[one["name"]]["tokens"]),
            f"{by_name[one['name']]['loss']:.4f}",
            f"{one['predicted']:.4f}",
            f"{one['error']:+.2%}",
        )
        for one in found["residuals"]
    ]
    return render.table(("run", "N", "D", "loss", "law", "error"), rows, right=range(1, 6))


def _published(found: dict[str, Any]) -> str:
    from workbench.cli import render

    own = found["coefficients"]
    rows = [("these runs", *(f"{own[name]:.4g}" for name in own), f"{found['exponents']['a']:.3f}", "")]
    for one in found["published"]:
        values = one["coefficients"]
        cells = [f"{values[name]:.4g}" for name in own] if values else ["–"] * 5
        a = f"{one['a']:.3f}" if one["a"] is not None else "–"
        rows.append((render.literal(one["name"]), *cells, a, f"{one['tokens_per_parameter']:.1f}"))
    headers = ("law", "E", "A", "B", "α", "β", "a", "D/N at 5.76e23")
    return render.table(headers, rows, right=range(1, 8))
