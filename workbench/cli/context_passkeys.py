"""`workbench context passkeys`: pass keys to learn from."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from workbench.cli import parser as grammar
from workbench.errors import UsageError

EXAMPLE = """workbench context passkeys keys.jsonl --tokenizer nano-1 --length 64-240
workbench train nano 'data.sources=[stdlib:, {path: keys.jsonl, weight: 2}]'
workbench context passkeys keys.jsonl --tokenizer ./model --kind prompt_completion --count 5000"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "passkeys",
        run,
        help="write pass keys to train on: texts, or prompts with completions",
        description="Write pass keys to train on: a number hidden in text, asked for at its end. A model\n"
        "that has learnt from plain text alone cannot do this at any length; one that has seen\n"
        "these can be tested beyond their length.",
        example=EXAMPLE,
    )
    parser.add_argument("output", metavar="OUT", help="a .jsonl file to write")
    parser.add_argument(
        "--tokenizer",
        metavar="MODEL",
        required=True,
        help="a run, a model folder or a hub name: what lengths are counted in",
    )
    parser.add_argument("--count", metavar="N", type=int, default=10_000, help="how many (%(default)s)")
    parser.add_argument("--length", metavar="N-N", default="64-240", help="tokens of a text (%(default)s)")
    parser.add_argument("--data", metavar="SOURCE", action="append", help="text to hide keys in (stdlib:)")
    parser.add_argument(
        "--style", choices=("classic", "text"), default="text", help="the paper's sentences, or --data's text"
    )
    parser.add_argument(
        "--kind", choices=("text", "prompt_completion"), default="text", help="for clm, or for sft"
    )
    parser.add_argument("--force", action="store_true", help="replace OUT where it exists")
    parser.add_argument("--digits", metavar="N", type=int, default=5, help="of a key (%(default)s)")
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="(%(default)s)")
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench context passkeys`."""
    from workbench.cli import prediction, render

    found = re.fullmatch(r"([1-9]\d*)(?:-([1-9]\d*))?", args.length.replace("–", "-"))
    if found is None or int(found[2] or found[1]) < int(found[1]):
        raise UsageError(f"--length {args.length} is no length", hint="--length 64-240")
    if args.count < 1 or not 1 <= args.digits <= 12:
        raise UsageError("--count is at least 1, and --digits from 1 to 12")
    if not args.output.endswith(".jsonl"):
        raise UsageError(f"{args.output} is read as another format", hint="a name that ends in .jsonl")
    if not args.force and Path(args.output).expanduser().exists():
        raise UsageError("there is a file of this name", where=args.output, hint="another name, or --force")
    request: dict[str, Any] = {
        "command": "passkey_texts",
        "output": args.output,
        "tokenizer": prediction.model_folder(args.tokenizer)[0],
        "count": args.count,
        "shortest": int(found[1]),
        "longest": int(found[2] or found[1]),
        "sources": args.data or ["stdlib:"],
        "style": args.style,
        "kind": args.kind,
        "digits": args.digits,
        "seed": args.seed,
    }
    result: dict[str, Any] = {}
    for event in prediction.ask(request, debug=args.debug):
        result = event
    if args.json:
        print(render.as_json(result))
    else:
        size = f"{result['tokens']:.0f} tokens each, {result['longest']:,} at most"
        print(f"{result['count']:,} pass keys in {render.literal(result['output'])}, {size}")
    return 0
