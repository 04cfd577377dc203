"""`workbench context eval`: a decoder on long text, as it is and with its positions stretched."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from workbench.cli import parser as grammar
from workbench.cli.context_cost import LONGEST
from workbench.cli.numbers import positive
from workbench.errors import UsageError
from workbench.rope_extension import METHODS

EXAMPLE = """workbench context eval nano-1                         as it is, on what its run held out
workbench context eval nano-1 --rope-scaling all --rope-factor 4
workbench context eval nano-1 --rope-scaling none,yarn --lengths 256,512,1024
workbench context eval ./SmolLM2-135M-Instruct --data stdlib: --style classic --no-positions
workbench context eval nano-1 --data book.txt --stride 128 --json"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    from workbench.cli import prediction

    parser = grammar.add_command(
        commands,
        "eval",
        run,
        help="perplexity by position and pass keys of a decoder, by several methods of extension",
        description="Read long text with a decoder and see how far it follows: perplexity by position, over\n"
        "documents that it was not trained on, and whether it finds a pass key in the midst of\n"
        "text, by depth and length. With --rope-scaling the same model is read again with its\n"
        "positions stretched by each method; nothing is trained. The result is kept beside the\n"
        "run, and shown by `workbench context show` and in the Train tab (t).",
        example=EXAMPLE,
    )
    parser.add_argument("model", metavar="MODEL", help="a run's name, a model folder, or a hub name")
    parser.add_argument(
        "--rope-scaling",
        metavar="METHODS",
        help=f"none, {', '.join(METHODS)}, several with commas, or all; without it the model as it is",
    )
    parser.add_argument(
        "--rope-factor", metavar="N", type=_number, help="what the longest length needs if not given, or 4"
    )
    parser.add_argument(
        "--rope-original-length",
        metavar="TOKENS",
        type=positive,
        help="the trained length; that of the run's rows, or the model's context, if not given",
    )
    parser.add_argument("--lengths", metavar="N,N", help="tokens of the texts that are read")
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        action="append",
        help="files, folders or stdlib:; what its run held out if not given, for other models stdlib:",
    )
    parser.add_argument("--windows", metavar="N", type=positive, default=32, help="texts read (%(default)s)")
    parser.add_argument("--join", action="store_true", help="string documents together that are too short")
    parser.add_argument("--buckets", metavar="N", type=positive, default=16, help="of places (%(default)s)")
    parser.add_argument(
        "--stride", metavar="N", type=positive, help="also with a window that slides by so many tokens"
    )
    parser.add_argument("--no-positions", dest="positions", action="store_false", help="pass keys alone")
    parser.add_argument(
        "--passkey", action=argparse.BooleanOptionalAction, default=True, help="look for pass keys (yes)"
    )
    parser.add_argument(
        "--style",
        choices=("classic", "text"),
        help="of pass keys: in the paper's sentences, or in the text of --data; "
        "text for runs, classic for other models if not given",
    )
    parser.add_argument("--depths", metavar="N", type=positive, default=5, help="of keys (%(default)s)")
    parser.add_argument("--trials", metavar="N", type=positive, default=5, help="for each cell (%(default)s)")
    parser.add_argument("--digits", metavar="N", type=positive, default=5, help="of a key (%(default)s)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of texts and keys (%(default)s)")
    parser.add_argument(
        "--batch-tokens", metavar="N", type=positive, default=8192, help="read at a time (%(default)s)"
    )
    prediction.add_device_choice(parser)
    grammar.add_json(parser)


def _number(text: str) -> float:
    return float(text)


_number.__name__ = "number"


def run(args: argparse.Namespace) -> int:
    """Handle `workbench context eval`."""
    from workbench.cli import prediction, render
    from workbench.cli.context_text import page
    from workbench.store import context_jobs, long_context

    model, run_folder = prediction.model_folder(args.model)
    content: dict[str, Any] = {}
    with context_jobs.recorded(run_folder, "eval") as told:
        request = request_of(args, model, run_folder)
        for event in prediction.ask(request, debug=args.debug, told=told):
            content = event
        result = long_context.save(content, model, run_folder)
    if args.json:
        print(render.as_json(result.content))
        return 0
    print(page([result]))
    render.talk(f"kept as {render.literal(result.name)} in {render.literal(str(result.path))}")
    return 0


def request_of(args: argparse.Namespace, model: str, run_folder: Path | None) -> dict[str, Any]:
    """What the process is asked to do. Raises `UsageError`."""
    if not args.positions and not args.passkey:
        raise UsageError("nothing is left to measure", where="--no-positions --no-passkey")
    recipe = None if run_folder is None else _recipe(run_folder)
    sources = args.data or ([] if recipe is not None else ["stdlib:"])
    return {
        "command": "long_context",
        "model": model,
        "recipe": recipe,
        "where": "" if run_folder is None else str(run_folder / "recipe.yaml"),
        "sources": sources,
        "methods": methods_of(args),
        "lengths": lengths_of(args.lengths),
        "windows": args.windows,
        "join": args.join,
        "buckets": args.buckets,
        "stride": args.stride,
        "positions": args.positions,
        "passkeys": args.passkey,
        "style": args.style or ("text" if run_folder is not None else "classic"),
        "depths": args.depths,
        "trials": args.trials,
        "digits": args.digits,
        "seed": args.seed,
        "batch_tokens": args.batch_tokens,
        "device": args.device,
    }


def _recipe(run_folder: Path) -> dict[str, Any]:
    from workbench.store.runs import Run

    found: dict[str, Any] = Run(run_folder).recipe().model_dump(mode="json")
    return found


def methods_of(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The variants: arguments of `RopeExtension` each, none for the model as it is. Raises `UsageError`."""
    words = [word.strip() for word in (args.rope_scaling or "none").split(",") if word.strip()]
    if words == ["all"]:
        words = ["none", *METHODS]
    known = ("none", *METHODS)
    for word in words:
        if word not in known:
            raise UsageError(
                f"there is no method “{word}”",
                where="--rope-scaling",
                hint=grammar.suggestion(word, [*known, "all"]) or f"one of: {', '.join(known)}, all",
            )
    if not words:
        raise UsageError("--rope-scaling names no method", hint=f"one of: {', '.join(known)}, all")
    stretched = [word for word in words if word != "none"]
    if not stretched and (args.rope_factor or args.rope_original_length):
        raise UsageError(
            "a factor is of a method",
            where="--rope-factor",
            hint=f"--rope-scaling {', '.join(METHODS)} or all",
        )
    given = {"factor": args.rope_factor, "original": args.rope_original_length}
    return [{} if word == "none" else {"method": word, **given} for word in dict.fromkeys(words)]


def lengths_of(text: str | None) -> list[int] | None:
    """`256,1024` as numbers. Raises `UsageError`."""
    if text is None:
        return None
    parts = [part.strip().replace("_", "") for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and 1 <= int(part) <= LONGEST for part in parts):
        raise UsageError(
            f"--lengths {text} are no lengths", hint=f"--lengths 256,512,1024; at most {LONGEST:,}"
        )
    return [int(part) for part in parts]
