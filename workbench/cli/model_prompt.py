"""`workbench model prompt`: a learned soft prompt, read as tokens."""

from __future__ import annotations

import argparse
from typing import Any

from workbench.cli import parser as grammar
from workbench.cli.numbers import positive


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to its group."""

    parser = grammar.add_command(
        commands,
        "prompt",
        run,
        help="read a learned soft prompt: the tokens nearest to each virtual one",
        description="Read a learned soft prompt: for each virtual token the tokens of the vocabulary whose\n"
        "embeddings make the smallest angle with it, with the cosine and the distance. A prefix is keys\n"
        "and values inside the layers, which lie near no token.",
        example="workbench model prompt sentiment-prompt-1\nworkbench model prompt my-prompt/ --nearest 3",
    )
    parser.add_argument("name", metavar="RUN_OR_FOLDER", help="a run, or a folder of PEFT's")
    parser.add_argument("--nearest", type=positive, default=5, metavar="N", help="tokens for each (5)")
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench model prompt`."""
    from workbench.cli import render
    from workbench.cli.asking import ask
    from workbench.cli.model_show import checkpoint_of
    from workbench.store.inspector import Inspector

    with Inspector() as inspector:
        name = checkpoint_of(args.name)
        result = ask(inspector, "soft_prompt", debug=args.debug, name=name, count=args.nearest)
    print(render.as_json(result) if args.json else text_of(result))
    return 0


def text_of(result: dict[str, Any]) -> str:
    """A soft prompt in lines."""
    from workbench.cli import render
    from workbench.cli.render import literal

    head = f"{result['kind']}, {result['length']} virtual tokens, for {literal(result['base'])}"
    if result["nearest"] is None:
        return f"{head}\nIt is keys and values inside the layers, which lie near no token of the vocabulary."
    rows = [
        [str(place), literal(near["text"]), f"{near['cosine']:.3f}", f"{near['l2']:.3f}"]
        for place, row in enumerate(result["nearest"])
        for near in row
    ]
    return f"{head}\n{render.table(['place', 'token', 'cosine', 'distance'], rows, (0, 2, 3))}"
