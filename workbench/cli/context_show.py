"""`workbench context show`: evaluations on long text beside each other."""

from __future__ import annotations

import argparse

from workbench.cli import parser as grammar


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "show",
        run,
        help="evaluations on long text, several beside each other",
        description="Show evaluations on long text: perplexity by position, and heat maps of pass keys.\n"
        "A name means the newest of a run or model, NAME:2 its second, and a path a file.",
        example="workbench context show nano-1\n"
        "workbench context show nano-1 nano-1-yarn        before and after\n"
        "workbench context show nano-1:1 nano-1:3 --json",
    )
    parser.add_argument("results", metavar="NAME", nargs="+", help="a run or model, NAME:NUMBER, or a file")
    parser.set_defaults(**{grammar.REST: "results"})
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench context show`."""
    from workbench.cli import render
    from workbench.cli.context_text import page
    from workbench.errors import RunError
    from workbench.store.long_context import find

    results = [find(word) for word in args.results]
    if args.json:
        print(render.as_json([{"name": result.name, **result.content} for result in results]))
        return 0
    try:
        print(page(results))
    except (KeyError, TypeError, ValueError):
        raise RunError(
            "a result is damaged", where=", ".join(str(result.path) for result in results)
        ) from None
    return 0
