"""`workbench scale emergence`: sums asked of a study's models, accuracy beside likelihood, over compute."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from workbench.cli import parser as grammar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.scaling.fitting.points import Point
    from workbench.store.runs import Run
    from workbench.store.scaling_studies import Study

BATCH_SIZE = 64
EXAMPLES = 6


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    from workbench.cli.prediction import add_device_options

    parser = grammar.add_command(
        commands,
        "emergence",
        run,
        help="exact match and answer likelihood of multi-step sums, by compute",
        description="Ask the models of a study sums that its text did not hold: exact match of the greedy\n"
        "answer, and the log-likelihood of the right one, by compute and number of steps. Side by side\n"
        "they tell a jump of ability from one of the metric (Schaeffer et al. 2023).\n"
        "The study's text needs sums in it: its arithmetic section.",
        example="workbench scale emergence tiny-sums\nworkbench scale emergence mine --all --json",
    )
    parser.add_argument("study", metavar="STUDY", help="a study with an arithmetic section")
    parser.add_argument(
        "--all", action="store_true", help="all finished runs, not only the best of each compute budget"
    )
    parser.add_argument("--also", metavar="RUN", action="append", default=[], help="another run, too")
    parser.add_argument("--show", action="store_true", help="show the last evaluation, and ask nothing")
    add_device_options(parser)
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench scale emergence`."""
    from workbench.cli import render
    from workbench.errors import DataError
    from workbench.store.scaling_studies import find_study

    study = find_study(args.study)
    found = study.emergence() if args.show else evaluate(study, args)
    if found is None:
        raise DataError("nothing was asked yet", where=study.name, hint="leave out --show")
    print(render.as_json(found) if args.json else page(found))
    return 0


def evaluate(study: Study, args: argparse.Namespace) -> dict[str, Any]:
    """Ask the models, and keep what came of it."""
    from workbench.cli import prediction
    from workbench.errors import DataError
    from workbench.scaling import emergence
    from workbench.scaling.results import results_of
    from workbench.scaling.sums import read_held_out
    from workbench.store.runs import find_run

    items = read_held_out(study.path)
    finished = results_of(study, "total").points
    best = emergence.best_of_each_budget(finished)
    points = [*(finished if args.all else best)]
    # Sizes far from their best length would make a jump of what differs at one budget.
    judged = {point.name for point in best}
    for name in args.also:
        run = find_run(name)
        judged.add(run.name)
        if run.name not in {point.name for point in points}:
            points += [point for point in finished if point.name == run.name] or [_of_other(run, finished)]
    chosen = {point.name: point for point in points}
    models = []
    for name in chosen:
        folder = find_run(name).final_path
        if not folder.is_dir():
            raise DataError("the run has no final model", where=name)
        models.append({"name": name, "folder": str(folder)})
    if not models:
        raise DataError(
            "no run of the study has finished", where=study.name, hint=f"workbench scale run {study.name}"
        )
    request = {
        "command": "sums",
        "models": models,
        "items": items,
        "batch_size": args.batch_size or BATCH_SIZE,
        "device": args.device,
    }
    steps = [int(str(item["steps"])) for item in items]
    told, each = [], max(1, len(items) // EXAMPLES)
    for event in prediction.ask(request, debug=args.debug):
        point = chosen[event["name"]]
        told.append(
            {
                "name": point.name,
                "parameters": point.parameters,
                "tokens": point.tokens,
                "flops": point.flops,
                "loss": point.loss,
                "rows": emergence.summarise(event["items"], steps),
                "examples": [
                    {"prompt": str(item["prompt"]).rpartition("\n")[2], "answer": item["answer"],
                     "said": answer["text"], "right": answer["exact"]}
                    for item, answer in zip(items[::each], event["items"][::each], strict=True)
                ],
            }
        )  # fmt: skip
    told.sort(key=lambda model: float(model["flops"]))
    verdicts = {
        str(kind): emergence.verdict(
            [
                {"flops": model["flops"], **row}
                for model in told
                if model["name"] in judged
                for row in model["rows"]
                if row["steps"] == kind
            ]
        )
        for kind in sorted(set(steps))
    }
    found = {"study": study.name, "made": time.time(), "models": told, "verdicts": verdicts}
    study.write(study.emergence_path, found)
    return found


def _of_other(run: Run, finished: Sequence[Point]) -> Point:
    """A run that is not of the study. Raises `DataError`."""
    from workbench.errors import DataError
    from workbench.scaling.fitting.points import Point
    from workbench.scaling.laws import FLOPS_PER_PARAMETER
    from workbench.store.scaling_prediction import read_prediction

    _require_same_tokenizer(run, finished)
    status, kept = run.status(), read_prediction(run)
    size, tokens = float(status.num_parameters or 0), float(status.num_tokens)
    flops = kept.flops if kept else FLOPS_PER_PARAMETER * size * tokens
    if not flops > 0:
        raise DataError("how long it was trained is not known", where=run.name, hint="leave out --also")
    return Point(run.name, size, tokens, float(status.eval_loss or 0.0), flops)


def _require_same_tokenizer(run: Run, points: Sequence[Point]) -> None:
    """Raise `DataError` where a run reads text otherwise than the study's: likelihoods a token would not
    compare."""
    from workbench.errors import DataError
    from workbench.store.runs import find_run

    own = run.final_path / "tokenizer.json"
    known = find_run(points[0].name).final_path / own.name if points else own
    try:
        same = own.read_bytes() == known.read_bytes()
    except OSError:
        # What lacks a tokenizer fails where its model is read, with the reason.
        return
    if not same:
        raise DataError("its tokenizer is not the study's", where=run.name, hint="leave out --also")


def page(found: dict[str, Any]) -> str:
    """The evaluation for a person."""
    from workbench.cli import render
    from workbench.cli.scale_chart import NARROWEST, still
    from workbench.scaling.figures import compute_of, emergence_figures

    rows = []
    for model in found["models"]:
        for row in model["rows"]:
            rows.append(
                (
                    render.literal(model["name"]) if row is model["rows"][0] else "",
                    f"{compute_of(model):.1e}" if row is model["rows"][0] else "",
                    render.count(model["parameters"]) if row is model["rows"][0] else "",
                    str(row["steps"]),
                    _share(row["exact"], row["exact_interval"]),
                    _share(row["result"], row["result_interval"]),
                    f"{row['per_token']:.3f} ±{(row['per_token_interval'][1] - row['per_token']):.3f}",
                    f"{row['per_digit']:.3f}",
                    f"{row['expected']:.2%}",
                )
            )
    headers = (
        "run",
        "FLOPs",
        "N",
        "steps",
        "exact match",
        "result right",
        "nats/token",
        "nats/digit",
        "p(answer)",
    )
    parts = [render.table(headers, rows, right=(1, 2, 3, 6, 7, 8))]
    width = max(NARROWEST, (render.columns() - 4) // 2)
    pictures = [still(figure, width=width).splitlines() for figure in emergence_figures(found)]
    if render.columns() >= 2 * NARROWEST + 4:
        left, right = pictures
        parts.append("\n".join(f"{a:<{width}}    {b}".rstrip() for a, b in zip(left, right, strict=True)))
    else:
        parts += ["\n".join(lines) for lines in pictures]
    kinds = found["verdicts"].items()
    parts.append("\n".join(f"{kind} step{'s' * (kind != '1')}: {words}" for kind, words in kinds))
    return "\n\n".join(parts)


def _share(value: float, interval: list[float]) -> str:
    return f"{value:.1%} [{interval[0]:.1%}, {interval[1]:.1%}]"
