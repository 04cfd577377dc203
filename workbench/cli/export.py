"""`workbench export`: what came out of training, for other programs."""

from __future__ import annotations

import argparse
from typing import Any

from workbench.cli import parser as grammar
from workbench.store.exporter import DTYPES, FORMATS

EXAMPLE = """workbench export sft-1 --format safetensors --to exports/sft-1
workbench export sft-1 --format gguf --dtype q8_0 --to exports/sft-1-gguf
workbench export runs/sft-1/checkpoint-40 --format ollama --to exports/sft-1-ollama"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "export",
        run,
        help="write a trained model for other programs: safetensors, GGUF, Ollama",
        description="Write what came out of training for other programs, with its tokenizer and the very\n"
        "chat template it was trained with; adapters are merged into the weights. The folder is whole, or\n"
        "not there.",
        example=EXAMPLE,
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a run (its final model), a checkpoint or model folder, a hub name"
    )
    words = "; ".join(f"{name}: {what}" for name, what in FORMATS.items())
    parser.add_argument("--format", choices=tuple(FORMATS), required=True, help=words)
    parser.add_argument("--to", metavar="FOLDER", required=True, help="the folder to make")
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default="auto",
        help="how numbers are written (%(default)s: as they are stored; q8_0 for GGUF alone)",
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier export in that folder")
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench export`."""
    from workbench.cli import render
    from workbench.cli.asking import ask
    from workbench.store.exporter import exporter

    asked: dict[str, Any] = {"name": args.model, "format": args.format, "to": args.to}
    with exporter() as child:
        told = ask(child, "export", debug=args.debug, **asked, dtype=args.dtype, force=args.force)
    if args.json:
        print(render.as_json(told))
        return 0
    for note in told["notes"]:
        render.talk(render.literal(note))
    print(render.literal(text_of(told), keep_lines=True))
    return 0


def text_of(told: dict[str, Any]) -> str:
    """What was written, a line a file."""
    lines = [
        f"{told['model']}: {told['parameters']:,} parameters of {told['architecture']}, {told['dtype']}, "
        f"in {told['folder']}"
    ]
    width = max(len(file["name"]) for file in told["files"])
    sizes = [f"{file['bytes']:,}" for file in told["files"]]
    across = max(map(len, sizes))
    for file, size in zip(told["files"], sizes, strict=True):
        lines.append(f"  {file['name']:<{width}}  {size:>{across}}  sha256 {file['sha256']}")
    if told["format"] == "ollama":
        lines.append(f"  next: cd {told['folder']} && ollama create {told['model']} -f Modelfile")
    return "\n".join(lines)
