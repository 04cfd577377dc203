"""`workbench data inspect`: rows as the objective will see them, token by token."""

from __future__ import annotations

import argparse
from typing import Any

from workbench.cli import parser as grammar
from workbench.cli.numbers import natural, positive

EXAMPLE = """workbench data inspect nano
workbench data inspect bert-nano --rows 2 --start 100 objective.mlm_probability=0.3
workbench data inspect nano --side eval --rows 1 --attends 17"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to its group."""
    from workbench.cli.train import add_overrides

    parser = grammar.add_command(
        commands,
        "inspect",
        run,
        help="show rows as the objective will see them: what is masked, predicted, cut, padded",
        example=EXAMPLE,
    )
    parser.add_argument("recipe", metavar="RECIPE", help="a preset's name, or a recipe file ending in .yaml")
    add_overrides(parser)
    parser.add_argument("--rows", metavar="N", type=positive, default=1, help="rows shown (1)")
    parser.add_argument("--start", metavar="N", type=natural, default=0, help="the first of them (0)")
    parser.add_argument("--side", choices=("train", "eval"), default="train", help="training or held out")
    parser.add_argument(
        "--attends", metavar="TOKEN", type=natural, help="show what the token at this place of a row sees"
    )
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench data inspect`."""
    from workbench.cli import render
    from workbench.cli.asking import ask
    from workbench.recipe import load
    from workbench.store.inspector import Inspector

    recipe = load(args.recipe, args.overrides).model_dump(mode="json")
    with Inspector() as inspector:
        result = ask(
            inspector,
            "batch",
            debug=args.debug,
            recipe=recipe,
            side=args.side,
            start=args.start,
            count=args.rows,
        )
    if args.attends is not None:
        _check_place(result, args.attends)
    print(render.as_json(result) if args.json else text_of(result, args.attends))
    return 0


def _check_place(result: dict[str, Any], place: int) -> None:
    from workbench.errors import UsageError

    shortest = min(len(row["streams"][0]["tokens"]) for row in result["rows"])
    if place >= shortest:
        raise UsageError(
            f"there is no token {place:,} in a row", where="--attends", hint=f"0 to {shortest - 1:,}"
        )


def text_of(result: dict[str, Any], attends: int | None = None) -> str:
    """Rows, legend and totals."""
    from workbench.cli.data.row_text import Writer
    from workbench.cli.data.totals_text import totals_text

    writer = Writer(result)
    parts = [writer.row(row, attends) for row in result["rows"]]
    return "\n\n".join([*parts, writer.legend(), totals_text(result)])
