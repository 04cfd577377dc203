"""`workbench data tokenize`: what a tokenizer makes of a text."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from workbench.cli import parser as grammar

EXAMPLE = """workbench data tokenize nano "def main():"
workbench data tokenize runs/nano-1/final --file notes.txt
workbench data tokenize bert-base-cased < notes.txt"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to its group."""
    parser = grammar.add_command(
        commands,
        "tokenize",
        run,
        help="show the tokens of a text, and how many bytes each stands for",
        example=EXAMPLE,
    )
    parser.add_argument(
        "name", metavar="RECIPE|MODEL", help="a recipe, a run, a folder with a tokenizer, or a hub name"
    )
    parser.add_argument("text", metavar="TEXT", nargs="?", help="otherwise standard input")
    parser.add_argument("--file", metavar="F", help="a file with the text")
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench data tokenize`."""
    from workbench.cli import render
    from workbench.cli.asking import ask
    from workbench.store.inspector import Inspector

    meant, text = tokenizer_of(args.name), _text(args)
    with Inspector() as inspector:
        result = ask(inspector, "tokens", debug=args.debug, text=text, **meant)
    print(render.as_json(result) if args.json else text_of(result))
    return 0


def tokenizer_of(name: str) -> dict[str, Any]:
    """The argument that says which tokenizer is meant: a recipe's mapping, or a folder or hub name."""
    from pathlib import Path

    from workbench.cli.prediction import model_folder
    from workbench.errors import RecipeError, RunError
    from workbench.recipe import find_preset, load

    if Path(name).expanduser().is_dir():
        folder = Path(name).expanduser()
        has_tokenizer = (folder / "tokenizer.json").is_file()
        return {"tokenizer": str(folder) if has_tokenizer else model_folder(name)[0]}
    try:
        find_preset(name)
    except RecipeError:
        if name.endswith((".yaml", ".yml")):
            raise
    else:
        return {"recipe": load(name).model_dump(mode="json")}
    try:
        return {"tokenizer": model_folder(name)[0]}
    except RunError:
        return {"tokenizer": name}


def _text(args: argparse.Namespace) -> str:
    from pathlib import Path

    from workbench.errors import DataError, UsageError

    if args.text is not None and args.file is not None:
        raise UsageError("TEXT and --file are both given", where="workbench data tokenize", hint="give one")
    if args.text is not None:
        return str(args.text)
    where = args.file or "standard input"
    try:
        if args.file is not None:
            return Path(args.file).expanduser().read_text(encoding="utf-8")
        if sys.stdin.isatty():
            raise UsageError(
                "there is no text", where="workbench data tokenize", hint='give it in quotes: "some text"'
            )
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise DataError(f"it is not UTF-8 text: byte at offset {error.start:,}", where=where) from None
    except OSError as error:
        raise DataError(f"it cannot be read: {error.strerror}", where=where) from None


def text_of(result: dict[str, Any]) -> str:
    """The tokens as a table, and the totals."""
    from workbench.cli import render
    from workbench.cli.render import literal

    rows = [
        [
            str(place),
            str(token["id"]),
            # Quoted, for a blank is a part of a token.
            f"“{literal(token['text'])}”",
            literal(token["piece"]),
            token["hex"],
            "special" if token["special"] else "",
        ]
        for place, token in enumerate(result["tokens"])
    ]
    items = [
        ("tokenizer", f"{literal(result['tokenizer'])}, {result['vocab_size']:,} entries"),
        ("tokens", f"{result['num_tokens']:,}, of these {result['frame_tokens']} around the text"),
        ("bytes per token", render.number(result["bytes_per_token"], 3)),
        ("characters per token", render.number(result["characters_per_token"], 3)),
    ]
    if result["unknown_tokens"]:
        items.append(("unknown", f"{result['unknown_tokens']:,} tokens that the vocabulary cannot write"))
    left = result["num_tokens"] - len(rows)
    if left:
        items.append(("not shown", f"{left:,} tokens"))
    table = render.table(["", "id", "text", "piece", "bytes", ""], rows, right=(0, 1))
    return f"{table}\n\n{render.pairs(items)}"
