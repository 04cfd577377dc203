"""`workbench context list`: which models were evaluated on long text."""

from __future__ import annotations

import argparse
import time

from workbench.cli import parser as grammar


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "list",
        run,
        help="the evaluations on long text that there are",
        example="workbench context list\nworkbench context list --json",
    )
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench context list`."""
    from workbench.cli import render
    from workbench.store.long_context import every

    results = every()
    if args.json:
        keys = ("model", "run", "created", "trained", "context", "lengths")
        rows = [
            {
                "name": result.name,
                "path": str(result.path),
                **{key: result.content.get(key) for key in keys},
                "variants": [variant.get("title") for variant in result.variants],
            }
            for result in results
        ]
        print(render.as_json(rows))
        return 0
    if not results:
        render.talk("Nothing was evaluated on long text yet: workbench context eval RUN --rope-scaling all")
        return 0
    lines = [
        [
            render.literal(result.name),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(float(result.content["created"]))),
            f"{max(result.content['lengths']):,}",
            render.literal(", ".join(str(variant.get("title")) for variant in result.variants)),
        ]
        for result in results
    ]
    print(render.table(["name", "made", "tokens", "variants"], lines, right=(2,)))
    return 0
