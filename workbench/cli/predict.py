"""`workbench predict`: what a trained model answers to the records of a file."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from workbench.cli import parser as grammar

EXAMPLE = """workbench predict classify-1 reviews.csv --output answers.jsonl
workbench predict runs/tag-1/final sentences.txt
workbench predict span-1 questions.jsonl > answers.jsonl"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    from workbench.cli import prediction

    parser = grammar.add_command(
        commands,
        "predict",
        run,
        help="label, score or answer the records of a file with a trained model",
        description="Label, score or answer the records of a file with a trained model. Writes JSON lines\n"
        "in the order of the file: the columns of each record, its `prediction` and the `scores`.\n"
        "A masked language model fills the mask tokens of a `text`.",
        example=EXAMPLE,
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a run's name, a model folder, or a hub name, with a task's head"
    )
    parser.add_argument("file", metavar="FILE", help="records (.jsonl .json .csv .tsv .parquet …), or lines")
    parser.add_argument("--output", metavar="OUT", help="a file for the results; standard output otherwise")
    prediction.add_reading_options(parser)
    prediction.add_device_options(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench predict`."""
    from workbench.cli import prediction, render

    columns = prediction.columns_of(args.columns)
    model, _ = prediction.model_folder(args.model)
    request = {
        "command": "predict",
        "model": model,
        "file": args.file,
        "columns": columns,
        "max_length": args.max_length,
        "batch_size": args.batch_size or prediction.BATCH_SIZE,
        "device": args.device,
    }
    count = 0
    with _output(args.output) as stream:
        for event in prediction.ask(request, debug=args.debug):
            stream.write(json.dumps(event["row"], ensure_ascii=False) + "\n")
            count += 1
    if args.output:
        render.talk(f"{count:,} predictions in {args.output}")
    return 0


@contextlib.contextmanager
def _output(name: str | None) -> Iterator[IO[str]]:
    """Standard output, or a file that stands under its name only once it is complete."""
    from workbench.errors import storage_error

    if name is None:
        yield sys.stdout
        return
    path = Path(name).expanduser()
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise storage_error(error, path) from None
    finally:
        partial.unlink(missing_ok=True)
