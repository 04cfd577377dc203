"""`workbench runs compare`: in what runs differ, and what came of it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from workbench import units
from workbench.cli import parser as grammar

if TYPE_CHECKING:
    from workbench.store.runs import Run

# Above this many rows a series is thinned out; a program gets all of it with --json.
SERIES_ROWS = 40


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "compare",
        run,
        help="compare runs: recipes and results, or one metric step by step",
        example="workbench runs compare nano-1 nano-2\n"
        "workbench runs compare nano-1 nano-2 --metric eval_loss",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="two runs or more; the first is the baseline")
    parser.add_argument("--metric", metavar="NAME", help="print this metric of all runs, aligned by step")
    grammar.add_json(parser)
    parser.set_defaults(**{grammar.REST: "runs"})


def run(args: argparse.Namespace) -> int:
    """Handle `workbench runs compare`."""
    from workbench.cli import render
    from workbench.errors import UsageError
    from workbench.store.runs import find_run

    if len(args.runs) < 2:
        raise UsageError("comparing takes two runs or more", where="workbench runs compare")
    found = [find_run(name) for name in args.runs]
    if args.metric:
        rows = aligned(found, args.metric)
        if args.json:
            print(render.as_json({"metric": args.metric, "runs": [r.name for r in found], "points": rows}))
        else:
            print(_series_table(found, args.metric, rows))
        return 0
    compared = {"runs": [results(item) for item in found], "recipe": recipe_differences(found)}
    print(render.as_json(compared) if args.json else _page(found, compared))
    return 0


def results(run: Run) -> dict[str, Any]:
    """What came of a run, in the numbers that are compared."""
    from workbench.cli.series import best
    from workbench.cli.summary import elapsed
    from workbench.store.metrics import read_metrics

    status, tail = run.status(), read_metrics(run.metrics_path)
    value: dict[str, Any] = {"name": run.name, "state": status.seen_state(), "step": status.step}
    for name in ("loss", "eval_loss"):
        values = tail.series(name)[1].tolist() if tail.count(name) else []
        value[name] = values[-1] if values else None
        value[f"best_{name}"] = best(values)
    rates = tail.series("tokens_per_second")[1].tolist() if tail.count("tokens_per_second") else []
    value["tokens_per_second"] = sum(rates) / len(rates) if rates else status.tokens_per_second
    value["num_tokens"] = status.num_tokens
    value["num_parameters"] = status.num_parameters
    value["seconds"] = elapsed(status)
    return value


def recipe_differences(runs: list[Run]) -> list[dict[str, Any]]:
    """The recipe's keys in which not all runs agree, with each run's value."""
    from workbench.recipe import difference

    recipes = [run.recipe() for run in runs]
    keys: dict[str, None] = {}
    for recipe in recipes[1:]:
        keys.update({key: None for key, _, _ in difference(recipe, recipes[0]) if key != "run.name"})
    return [{"key": key, "values": [_at(recipe, key) for recipe in recipes]} for key in keys]


def _at(recipe: Any, dotted: str) -> Any:
    value = recipe.model_dump(mode="json")
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def aligned(runs: list[Run], metric: str) -> list[dict[str, Any]]:
    """One row a step at which any run has the metric, with each run's value or None."""
    from workbench.cli.series import points, require_metric
    from workbench.store.metrics import read_metrics

    tails = [read_metrics(run.metrics_path) for run in runs]
    require_metric(metric, (name for tail in tails for name in tail.names))
    series = [dict(points(tail, metric)) if tail.count(metric) else {} for tail in tails]
    steps = sorted(set().union(*series))
    return [{"step": step, "values": [values.get(step) for values in series]} for step in steps]


def _series_table(runs: list[Run], metric: str, rows: list[dict[str, Any]]) -> str:
    from workbench.cli import render

    shown = rows
    if len(rows) > SERIES_ROWS:
        # Steps that all runs have, evenly spread, with the last: thinned rows then still compare.
        full = [row for row in rows if None not in row["values"]] or rows
        stride = -(-len(full) // SERIES_ROWS)
        shown = full[::stride] + ([full[-1]] if (len(full) - 1) % stride else [])
        render.talk(f"{len(shown)} of {len(rows)} steps; --json has all of them")
    headers = ["step", *(render.literal(run.name) for run in runs)]
    cells = [[f"{row['step']:,}", *map(render.number, row["values"])] for row in shown]
    return render.style(metric, "bold") + "\n" + render.table(headers, cells, range(len(headers)))


def _page(runs: list[Run], compared: dict[str, Any]) -> str:
    import json

    from workbench.cli import render

    names = [render.literal(run.name) for run in runs]
    facts = compared["runs"]
    rows = [
        ["state", *(render.literal(fact["state"]) for fact in facts)],
        ["step", *(f"{fact['step']:,}" for fact in facts)],
    ]
    for name in ("loss", "best_loss", "eval_loss", "best_eval_loss"):
        rows.append([name, *(render.number(fact[name]) for fact in facts)])
    for name in ("tokens_per_second", "num_tokens", "num_parameters"):
        rows.append([name, *(render.count(fact[name]) for fact in facts)])
    rows.append(["time", *(units.duration(fact["seconds"]) for fact in facts)])
    right = range(1, len(names) + 1)
    page = render.table(["result", *names], rows, right)
    if not compared["recipe"]:
        return f"{page}\n\nthe recipes are the same"
    changes = [
        [
            line["key"],
            *(render.clip(render.literal(json.dumps(v, ensure_ascii=False)), 40) for v in line["values"]),
        ]
        for line in compared["recipe"]
    ]
    return f"{page}\n\n{render.table(['recipe', *names], changes, right)}"
