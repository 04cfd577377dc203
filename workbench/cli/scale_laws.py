"""`workbench scale laws`: the published laws, and what they advise for some compute."""

from __future__ import annotations

import argparse

from workbench.cli import parser as grammar
from workbench.cli.numbers import amount


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "laws",
        run,
        help="the published laws, their sources, and what they advise for some compute",
        example="workbench scale laws\nworkbench scale laws --compute 1e21",
    )
    parser.add_argument(
        "--compute", metavar="C", type=amount, default=5.76e23, help="FLOPs (5.76e23, Chinchilla's)"
    )
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench scale laws`."""
    from workbench.cli import render
    from workbench.scaling.laws import COUNT_WORDS, Law
    from workbench.scaling.published import published_laws

    found = []
    for one in published_laws():
        size, tokens = (
            float(one.law.optimal_parameters(args.compute)),
            float(one.law.optimal_tokens(args.compute)),
        )
        found.append(
            {
                "name": one.name,
                "source": one.source,
                "count": one.law.count,
                "coefficients": one.law.coefficients() if isinstance(one.law, Law) else None,
                "flops": args.compute,
                "parameters": size,
                "tokens": tokens,
                "tokens_per_parameter": tokens / size,
                "loss": float(one.law.optimal_loss(args.compute)),
            }
        )
    if args.json:
        print(render.as_json(found))
        return 0
    rows = [
        (
            render.literal(str(one["name"])),
            render.count(one["parameters"]),
            render.count(one["tokens"]),
            f"{one['tokens_per_parameter']:.1f}",
            f"{one['loss']:.3f}",
            COUNT_WORDS[one["count"]],
        )
        for one in found
    ]
    print(f"compute-optimal at {args.compute:.3g} FLOPs\n")
    print(render.table(("law", "N", "D", "D/N", "loss", "N counts"), rows, right=(1, 2, 3, 4)), end="\n\n")
    print(
        render.pairs(
            [(render.literal(str(one["name"])), render.literal(str(one["source"]))) for one in found]
        )
    )
    return 0
