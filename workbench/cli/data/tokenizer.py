"""`workbench data tokenizer`: train a tokenizer of one's own on the sources of a recipe."""

from __future__ import annotations

import argparse
from typing import Any

from workbench.cli import parser as grammar
from workbench.cli.numbers import positive

KINDS = ("bpe", "wordpiece", "unigram")
EXAMPLE = """workbench data tokenizer nano --vocab-size 8192 --output my-tokenizer
workbench data tokenizer bert-nano --vocab-size 4096 --kind wordpiece --output pieces data.sources=[my.txt]"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to its group."""
    from workbench.cli.train import add_overrides

    parser = grammar.add_command(
        commands,
        "tokenizer",
        run,
        help="train a tokenizer on the sources of a recipe, and compare it with the recipe's own",
        description="Train a tokenizer on the training text of a recipe and save it as a folder that\n"
        "transformers loads; a recipe takes it as model.tokenizer_name_or_path.",
        example=EXAMPLE,
    )
    parser.add_argument("recipe", metavar="RECIPE", help="a preset's name, or a recipe file ending in .yaml")
    add_overrides(parser)
    parser.add_argument("--vocab-size", metavar="N", type=positive, required=True, help="entries, at most")
    parser.add_argument("--output", metavar="DIR", required=True, help="a new folder")
    parser.add_argument("--kind", choices=KINDS, default="bpe", help="bpe and unigram work on bytes (bpe)")
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench data tokenizer`."""
    from pathlib import Path

    from workbench.cli import render
    from workbench.cli.asking import ask
    from workbench.recipe import load
    from workbench.store.inspector import Inspector

    recipe = load(args.recipe, args.overrides).model_dump(mode="json")
    output = str(Path(args.output).expanduser().absolute())
    with Inspector() as inspector:
        result = ask(
            inspector,
            "train_tokenizer",
            debug=args.debug,
            recipe=recipe,
            vocab_size=args.vocab_size,
            output=output,
            kind=args.kind,
        )
    if args.json:
        print(render.as_json(result))
        return 0
    render.talk(text_of(result))
    print(result["output"])
    return 0


def text_of(result: dict[str, Any]) -> str:
    """The new tokenizer beside the old one."""
    from workbench.cli import render
    from workbench.cli.render import literal

    entries = [(f"new ({result['kind']})", result["new"])]
    if result["old"] is not None:
        name = "the recipe's own" if result["old_name"] == "trained" else result["old_name"]
        entries.append((literal(name), result["old"]))
    rows = [
        [
            name,
            f"{measured['vocab_size']:,}",
            f"{measured['tokens']:,}",
            render.number(measured["bytes_per_token"], 4),
            f"{measured['unknown_tokens']:,}",
            "yes" if measured["lossless"] else "no",
        ]
        for name, measured in entries
    ]
    head = ["tokenizer", "entries", "tokens", "bytes per token", "unknown", "text comes back"]
    table = render.table(head, rows, right=(1, 2, 3, 4))
    return f"on {render.size(result['num_bytes'])} of {result['measured_on']}:\n{table}"
