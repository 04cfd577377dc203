"""How an engine can be started: the options of `workbench serve`, and of the process behind it. No torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from workbench.errors import UsageError
from workbench.inference.limits import MAX_QUEUE, MAX_SEQUENCES
from workbench.rope_extension import METHODS, RopeExtension, extension_problem


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _amount(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def _named_folder(text: str) -> str:
    name, equals, folder = text.partition("=")
    if not name or not (folder or not equals):
        raise ValueError
    if not equals:
        # A folder, which gives it its name, or a run, whose name it has.
        return f"{_name_of(Path(text))}={_absolute(text)}" if Path(text).expanduser().is_dir() else text
    return f"{name}={_absolute(folder)}"


def _name_of(folder: Path) -> str:
    folder = folder.expanduser().resolve()
    return folder.parent.name if folder.name == "final" else folder.name


def _absolute(folder: str) -> str:
    path = Path(folder).expanduser()
    return str(path.resolve()) if path.exists() else folder


def _factor(text: str) -> float:
    number = float(text)
    if number != number:
        raise ValueError
    return number


_factor.__name__ = "number"
_named_folder.__name__ = "NAME=DIR"
_count.__name__, _amount.__name__ = "positive number", "positive number"


def add_model_options(parser: Any) -> None:
    """How the model is loaded and run."""
    group = parser.add_argument_group("model")
    group.add_argument("--name", help="what clients call it; the model's own name if not given")
    group.add_argument("--adapter", metavar="DIR", help="a PEFT adapter or soft prompt to put on top")
    group.add_argument(
        "--soft-prompt",
        metavar="NAME=DIR",
        type=_named_folder,
        action="append",
        default=[],
        help="a soft prompt that requests may choose as MODEL:NAME; can be given many times",
    )
    group.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="precision; auto is bf16 where the device computes in it, else fp32",
    )
    group.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1, mps; auto takes the best there is"
    )
    group.add_argument("--revision", help="of a model from the hub")
    group.add_argument("--trust-remote-code", action="store_true", help="run Python code that comes with it")
    group.add_argument("--max-length", type=_count, metavar="TOKENS", help="prompt and answer together")
    group.add_argument("--threads", type=_count, help="of the CPU; all if not given")
    add_rope_options(group)
    group = parser.add_argument_group("engine")
    group.add_argument(
        "--max-sequences", type=_count, default=MAX_SEQUENCES, metavar="N", help="in one step (%(default)s)"
    )
    group.add_argument(
        "--kv-memory",
        type=_amount,
        metavar="GIB",
        help="for keys and values; a quarter of what is free if not given",
    )
    group.add_argument(
        "--kv-dtype",
        choices=("auto", "int8", "int4"),
        default="auto",
        help="how keys and values are kept: as the model computes (auto), or in 8 or 4 bits, which takes "
        "less memory, and longer (%(default)s)",
    )
    group.add_argument(
        "--max-queue",
        type=_count,
        default=MAX_QUEUE,
        metavar="N",
        help="requests that may wait (%(default)s)",
    )


def add_rope_options(group: Any) -> None:
    """How a model's rotary positions are stretched."""
    group.add_argument(
        "--rope-scaling",
        choices=METHODS,
        help="read beyond the trained length: linear (position interpolation), ntk, dynamic or yarn",
    )
    group.add_argument(
        "--rope-factor", type=_factor, metavar="N", help="how many times longer the context is"
    )
    group.add_argument(
        "--rope-original-length",
        type=_count,
        metavar="TOKENS",
        help="the trained length; the model's context if not given",
    )


def rope_of(args: argparse.Namespace) -> RopeExtension | None:
    """The extension that options ask for. Raises `UsageError`."""
    method, factor, original = args.rope_scaling, args.rope_factor, args.rope_original_length
    problem = extension_problem(method, factor, {"original_max_position_embeddings": original})
    if problem:
        words = {"rope_scaling": "--rope-scaling", "rope_factor": "--rope-factor"}
        words["original_max_position_embeddings"] = "--rope-original-length"
        for key, option in words.items():
            problem = problem.replace(key, option)
        raise UsageError(problem, where=f"--rope-scaling {method}" if method else "--rope-factor")
    return None if method is None else RopeExtension(method, factor, original)


def as_arguments(args: argparse.Namespace) -> list[str]:
    """The same options as words, for the process that serves."""
    words = []
    for name in (
        *("name", "adapter", "dtype", "device", "revision", "max_length", "threads", "kv_memory"),
        *("kv_dtype", "rope_scaling", "rope_factor", "rope_original_length"),
    ):
        value = getattr(args, name)
        if value not in (None, "auto"):
            words += [f"--{name.replace('_', '-')}", str(value)]
    for name, default in (("max_sequences", MAX_SEQUENCES), ("max_queue", MAX_QUEUE)):
        if getattr(args, name) != default:
            words += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    for named in args.soft_prompt:
        words += ["--soft-prompt", named]
    return [*words, "--trust-remote-code"] if args.trust_remote_code else words
