"""`workbench scale list | show | rm`: the studies there are, how far they are, and removing them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from workbench.cli import parser as grammar

if TYPE_CHECKING:
    from workbench.store.scaling_studies import Study


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the commands to the grammar."""
    parser = grammar.add_command(
        commands, "list", run_list, help="the studies, newest first", example="workbench scale list"
    )
    grammar.add_json(parser)
    parser = grammar.add_command(
        commands,
        "show",
        run_show,
        help="a study: its runs, how far they are, and the last fit",
        example="workbench scale show tiny-decoders",
    )
    parser.add_argument("study", metavar="STUDY", help="a planned study")
    grammar.add_json(parser)
    parser = grammar.add_command(
        commands,
        "rm",
        run_remove,
        help="remove studies; their runs stay, unless --runs",
        example="workbench scale rm tiny-decoders\nworkbench scale rm tiny-decoders --runs",
    )
    parser.add_argument("studies", metavar="STUDY", nargs="+", help="planned studies")
    parser.add_argument("--runs", action="store_true", help="remove their runs too")


def summary(study: Study) -> dict[str, Any]:
    """A study in a few values; one that was damaged by hand says so."""
    from workbench.errors import WorkbenchError
    from workbench.scaling.queue import progress
    from workbench.scaling.study_files import kept_fit

    try:
        fit = kept_fit(study)
        found = progress(study)
    except (WorkbenchError, KeyError, TypeError, ValueError) as error:
        return {"name": study.name, "state": "damaged", "message": str(error), "path": str(study.path)}
    return {
        "name": study.name,
        "path": str(study.path),
        **found,
        "coefficients": fit["coefficients"] if fit else None,
    }


def run_list(args: argparse.Namespace) -> int:
    """Handle `workbench scale list`."""
    from workbench.cli import render
    from workbench.store.scaling_studies import list_studies

    found = [summary(study) for study in list_studies()]
    if args.json:
        print(render.as_json(found))
        return 0
    if not found:
        render.talk("no studies yet; workbench scale plan tiny-decoders makes one")
        return 0
    rows = []
    for one in found:
        counts = one.get("counts") or {}
        total = sum(counts.values())
        rows.append(
            (
                render.literal(one["name"]),
                one["state"],
                f"{counts.get('done', 0)} of {total}" if total else "",
                str(counts.get("failed") or ""),
                f"{one['flops']:.2g}" if "flops" in one else "",
                law_words(one.get("coefficients")) if "flops" in one else render.literal(one["message"]),
            )
        )
    print(render.table(("study", "state", "runs done", "failed", "FLOPs", "law"), rows, right=(2, 3, 4)))
    return 0


def law_words(coefficients: dict[str, float] | None) -> str:
    """A law in a line."""
    if coefficients is None:
        return "not fitted yet"
    c = coefficients
    return f"{c['E']:.3g} + {c['A']:.3g}/N^{c['alpha']:.3g} + {c['B']:.4g}/D^{c['beta']:.3g}"


def run_show(args: argparse.Namespace) -> int:
    """Handle `workbench scale show`."""
    from workbench import paths
    from workbench.cli import render
    from workbench.cli.scale_run import progress_words
    from workbench.scaling.plan import Plan
    from workbench.scaling.queue import progress
    from workbench.scaling.study_files import kept_fit
    from workbench.store.runs import Run
    from workbench.store.scaling_prediction import read_prediction, words_of
    from workbench.store.scaling_studies import find_study

    study = find_study(args.study)
    plan, state, found = Plan.from_dict(study.plan()), study.queue(), progress(study)
    fit = kept_fit(study)
    rows: list[dict[str, Any]] = []
    for planned in plan.runs:
        run = Run(paths.runs_dir() / planned.name)
        status, entry = run.status(), state.runs.get(planned.name, {})
        prediction = read_prediction(run)
        rows.append(
            {
                "name": planned.name,
                "queue": entry.get("state", "waiting"),
                "state": status.seen_state() if status.state != "unknown" else "not begun",
                "step": status.step,
                "steps": planned.steps,
                "parameters": planned.parameters,
                "tokens": planned.tokens,
                "flops": planned.flops,
                "eval_loss": status.eval_loss,
                "error": entry.get("error", ""),
                "prediction": words_of(prediction, status) if prediction else None,
            }
        )
    if args.json:
        told = {"name": study.name, "path": str(study.path), **found, "runs": rows}
        print(render.as_json({**told, "coefficients": fit["coefficients"] if fit else None}))
        return 0
    facts = [
        ("study", render.literal(study.name)),
        ("state", f"{found['state']}, {progress_words(found)}"),
        ("message", render.literal(found["message"], keep_lines=True)),
        ("law", law_words(fit["coefficients"] if fit else None)),
        ("folder", render.literal(str(study.path))),
    ]
    print(render.pairs([fact for fact in facts if fact[1]]), end="\n\n")
    lines = [
        (
            render.literal(row["name"]),
            row["queue"],
            row["state"],
            f"{row['step']:,} of {row['steps']:,}",
            render.count(row["parameters"]),
            render.count(row["tokens"]),
            f"{row['flops']:.2g}",
            render.number(row["eval_loss"]),
            render.literal(str(row["error"])),
        )
        for row in rows
    ]
    headers = ("run", "queue", "state", "step", "N", "tokens", "FLOPs", "eval_loss", "")
    print(render.table(headers, lines, right=(3, 4, 5, 6, 7)))
    return 0


def run_remove(args: argparse.Namespace) -> int:
    """Handle `workbench scale rm`."""
    from workbench import paths
    from workbench.scaling.plan import Plan
    from workbench.store.runs import Run, delete_run
    from workbench.store.scaling_studies import delete_study, find_study

    found = [find_study(name) for name in args.studies]
    for study in found:
        names = [run.name for run in Plan.from_dict(study.plan()).runs] if args.runs else []
        delete_study(study)
        for name in names:
            run = Run(paths.runs_dir() / name)
            if run.path.exists():
                delete_run(run)
        print(study.name)
    return 0
