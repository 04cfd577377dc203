"""`workbench evals list`: all evaluations, the latest first."""

from __future__ import annotations

import argparse
from typing import Any

from workbench.cli import parser as grammar


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "list",
        run,
        help="list the evaluations of prompts, the latest first",
        example="workbench evals list\nworkbench evals list --json",
    )
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench evals list`."""
    from workbench.cli import render
    from workbench.store.evaluations import list_evaluations

    found = [_line(evaluation) for evaluation in list_evaluations()]
    if args.json:
        print(render.as_json(found))
    elif found:
        headers = ["name", "state", "prompt", "technique", "model", "rows", "score"]
        print(render.table(headers, [_cells(line) for line in found], right=(5, 6)))
    else:
        render.talk("no evaluations yet; workbench eval --help shows how to make one")
    return 0


def _line(evaluation: Any) -> dict[str, Any]:
    """What is told of an evaluation; a damaged one is told with what is left of it."""
    from workbench.errors import RunError

    try:
        settings = evaluation.settings()
    except RunError:
        settings = {}
    summary = evaluation.summary()
    return {
        "name": evaluation.name,
        "path": str(evaluation.path),
        "state": summary.get("state", "not run"),
        "prompt": settings.get("prompt", {}).get("name", ""),
        "technique": settings.get("technique", {}).get("name", ""),
        "model": settings.get("model", {}).get("name", ""),
        "data": settings.get("data", {}).get("path", ""),
        **{
            key: summary.get(key)
            for key in ("items", "done", "failed", "accuracy", "interval", "judge", "updated")
        },
    }


def _cells(line: dict[str, Any]) -> list[str]:
    from workbench.cli import render
    from workbench.units import NONE

    model = line["model"].rstrip("/").rpartition("/")[2]
    words = [line["name"], line["state"], line["prompt"], line["technique"], model]
    rows = NONE if line["items"] is None else f"{line['done']:,}/{line['items']:,}"
    return [*map(render.literal, words), rows, _score(line)]


def _score(line: dict[str, Any]) -> str:
    """The accuracy, or a judge's mean score out of its best."""
    from workbench.units import NONE

    judge = line["judge"]
    if judge and judge["score"] is not None:
        return f"{judge['score']:.2f} of {judge['scale'][0]}–{judge['scale'][1]}"
    return NONE if line["accuracy"] is None else f"{line['accuracy']:.1%}"
