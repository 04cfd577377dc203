"""`workbench context cost`: what a decoder takes by the length of the text, measured."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.cli import parser as grammar
from workbench.errors import UsageError

LENGTHS = "256,512,1024,2048,4096,8192,16384"
LONGEST = 1 << 20
CURVE_LINES = 6
EXAMPLE = """workbench context cost nano-window-1
workbench context cost ./SmolLM2-135M-Instruct --lengths 256,1024,4096 --kv-dtype int8
workbench context cost nano-linear-1 --train --json
workbench context cost nano-window-1 --kept              what was measured last"""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    from workbench.cli import prediction

    parser = grammar.add_command(
        commands,
        "cost",
        run,
        help="time and memory of a decoder by the length of the text, measured, as curves",
        description="Read random texts of growing length with a decoder, as the engine does, and measure\n"
        "time and memory of reading, what is kept of the text, and the time of each further\n"
        "token; beside it the same weights with full attention, where the model has another.\n"
        "Beyond the trained length only cost is measured, not what the model says. The newest\n"
        "measurement is kept in the run's folder, or under context-cost/ in the workbench's home.",
        example=EXAMPLE,
    )
    parser.add_argument("model", metavar="MODEL", help="a run's name, a model folder, or a hub name")
    parser.add_argument("--lengths", metavar="N,N", default=LENGTHS, help="tokens (%(default)s)")
    parser.add_argument(
        "--kv-dtype",
        choices=("auto", "int8", "int4"),
        default="auto",
        help="how keys and values are kept (%(default)s)",
    )
    parser.add_argument(
        "--dtype", choices=("auto", "float32", "bfloat16", "float16"), default="auto", help="(%(default)s)"
    )
    parser.add_argument(
        "--no-full", dest="full", action="store_false", help="do not measure full attention beside it"
    )
    parser.add_argument(
        "--train", action="store_true", help="also a forward and backward pass of each length"
    )
    parser.add_argument("--output", metavar="FILE", help="where to keep the measurement instead")
    parser.add_argument(
        "--kept", action="store_true", help="show the last measurement of MODEL, or of a file, and make none"
    )
    prediction.add_device_choice(parser)
    grammar.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Handle `workbench context cost`."""
    from workbench.cli import prediction, render
    from workbench.store import context_costs, context_jobs

    if args.kept:
        kept = context_costs.find(args.model)
        print(render.as_json(kept) if args.json else _whole_page(kept))
        return 0
    lengths = lengths_of(args.lengths)
    model, run_folder = prediction.model_folder(args.model)
    request = {
        "command": "context_cost",
        "model": model,
        "lengths": lengths,
        "kv_dtype": args.kv_dtype,
        "dtype": args.dtype,
        "device": args.device,
        "full": args.full,
        "train": args.train,
    }
    content: dict[str, Any] = {}
    path = Path(args.output).expanduser() if args.output else context_costs.path_of(model, run_folder)
    with context_jobs.recorded(run_folder, "cost") as told:
        for event in prediction.ask(request, debug=args.debug, told=told):
            content = event
        content = context_costs.save(content, path)
    if args.json:
        print(render.as_json(content))
        return 0
    print(page(content))
    render.talk(f"kept in {render.literal(str(path))}")
    return 0


def _whole_page(content: dict[str, Any]) -> str:
    from workbench.errors import RunError

    try:
        return page(content)
    except (LookupError, TypeError, ValueError, ArithmeticError):
        raise RunError("this measurement is damaged", hint="measure again, without --kept") from None


def lengths_of(text: str) -> list[int]:
    """Numbers of tokens. Raises `UsageError`."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and 1 <= int(word) <= LONGEST for word in words):
        raise UsageError(
            f"--lengths {text} is no list of numbers of tokens",
            hint=f"such as 256,1024,4096; at most {LONGEST:,}",
        )
    return [int(word) for word in words]


def page(content: dict[str, Any]) -> str:
    """Tables and curves."""
    from workbench.cli import render

    parts = [
        render.pairs(
            [
                ("model", render.literal(str(content["model"]))),
                ("engine", render.literal(f"{content['runner']}, {content['dtype']}, {content['device']}")),
                ("trained on", f"{content['trained_length']:,} tokens at most"),
            ]
        )
    ]
    costs, full = content["costs"], content["full"]
    parts.append(_table(costs, full))
    seconds: Callable[[float], str] = _milliseconds
    for title, name, spelled in (
        ("time of a further token", "token_seconds", seconds),
        ("kept of the text", "kept_bytes", render.size),
        ("time to read it", "read_seconds", seconds),
    ):
        parts.append(_curve(title, name, costs, full, spelled))
    if content["training"]:
        headers = ["tokens", "forward and backward", "memory"]
        rows = [
            [f"{at['length']:,}", _milliseconds(at["seconds"]), render.size(at["peak_bytes"])]
            for at in content["training"]
        ]
        parts.append("training, one row, without the head\n" + render.table(headers, rows, right=(0, 1, 2)))
        parts.append(_curve("time of a step", "seconds", content["training"], None, seconds))
    return "\n\n".join(part for part in parts if part)


def _milliseconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 10 else f"{seconds * 1000:,.{1 if seconds < 0.1 else 0}f} ms"


def _table(costs: list[dict[str, Any]], full: list[dict[str, Any]] | None) -> str:
    from workbench.cli import render

    headers = ["tokens", "read", "memory", "kept", "a token", "tokens/s"]
    headers += ["full: read", "kept", "a token"] if full else []
    rows = []
    for number, at in enumerate(costs):
        row = [
            f"{at['length']:,}",
            _milliseconds(at["read_seconds"]),
            render.size(max(0, at["read_peak_bytes"])),
            render.size(at["kept_bytes"]),
            _milliseconds(at["token_seconds"]),
            f"{1 / max(at['token_seconds'], 1e-9):,.0f}",
        ]
        if full:
            beside = full[number]
            row += [
                _milliseconds(beside["read_seconds"]),
                render.size(beside["kept_bytes"]),
                _milliseconds(beside["token_seconds"]),
            ]
        rows.append(row)
    return render.table(headers, rows, right=tuple(range(len(headers))))


def _curve(
    title: str,
    name: str,
    costs: list[dict[str, Any]],
    full: list[dict[str, Any]] | None,
    spelled: Callable[[float], str],
) -> str:
    from workbench.cli import render
    from workbench.tui.build.log_curves import Curve, draw_curves

    if len(costs) < 2:
        return ""
    unicode = render.has_unicode()
    shown = [(full, "yellow", "o")] if full else []
    curves = [
        Curve([(at["length"], max(1e-9, at[name])) for at in points], colour, letter)
        for points, colour, letter in [*shown, (costs, "cyan", "#")]
    ]
    values = [value for curve in curves for _, value in curve.points]
    width = min(render.columns(), 76)
    lines = draw_curves(
        curves,
        width,
        CURVE_LINES,
        "braille" if unicode else "ascii",
        spelled(min(values)),
        spelled(max(values)),
    )
    dot = "━" if unicode else "#"
    legend = render.style(f"{dot} as it is", "cyan")
    if full:
        legend += "  " + render.style(f"{dot if unicode else 'o'} with full attention", "yellow")
    body = "\n".join("".join(render.style(text, role) for text, role in _joined(line)) for line in lines)
    first, last = costs[0]["length"], costs[-1]["length"]
    foot = f"  {first:,} to {last:,} tokens, both axes logarithmic"
    return f"{render.style(title, 'bold')}  {legend}\n{body}\n{foot}"


def _joined(line: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Neighbours of one role as one."""
    found: list[tuple[str, str]] = []
    for text, role in line:
        if found and found[-1][1] == role:
            found[-1] = found[-1][0] + text, role
        else:
            found.append((text, role))
    return found
