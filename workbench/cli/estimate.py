"""`workbench estimate`: what a recipe's model and its training take, before anything is started."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from workbench import units
from workbench.cli import parser as grammar
from workbench.cli.numbers import positive
from workbench.cli.train import add_overrides

if TYPE_CHECKING:
    from workbench.models.estimate import Cost, Estimate, Known, Speed

BAR = 24
"""Columns of a bar."""


def add_to(commands: argparse._SubParsersAction[grammar.Parser]) -> None:
    """Add the command to the grammar."""
    parser = grammar.add_command(
        commands,
        "estimate",
        run,
        help="weights, operations, memory, time and cost of a recipe; nothing is started",
        example="workbench estimate nano\n"
        "workbench estimate 125m training.max_steps=20000 --gpu H100 --price 2.20\n"
        "workbench estimate nano --measure --json",
    )
    parser.add_argument("recipe", metavar="RECIPE", help="a preset's name, or a recipe file ending in .yaml")
    add_overrides(parser)
    parser.add_argument(
        "--context", metavar="N", type=positive, help="tokens of context that the cache is shown for"
    )
    parser.add_argument(
        "--cache-dtype",
        choices=("bf16", "fp32", "int8", "int4"),
        default="bf16",
        help="how the cache keeps keys and values (bf16)",
    )
    parser.add_argument("--labels", metavar="N", type=positive, default=2, help="labels of a task (2)")
    parser.add_argument("--gpu", metavar="NAME", help="only this GPU, such as H100")
    parser.add_argument(
        "--price", metavar="X", type=_price, help="dollars an hour for each GPU, instead of what is assumed"
    )
    parser.add_argument(
        "--measure", action="store_true", help="measure how fast this machine is, and remember it"
    )
    grammar.add_json(parser)


def _price(text: str) -> float:
    import math

    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"“{text}” is no price")
    return value


def run(args: argparse.Namespace) -> int:
    """Handle `workbench estimate`; a model of unknown shape is a `ModelError`."""
    from dataclasses import replace

    from workbench.cli import render
    from workbench.errors import ModelError
    from workbench.models.estimate import estimate, find_gpu, key_value_cache, known_speed, measure_speed
    from workbench.recipe import load

    gpu = find_gpu(args.gpu) if args.gpu else None
    found = estimate(load(args.recipe, args.overrides), labels=args.labels)
    if found.known is None:
        raise ModelError(
            found.reason, where=args.recipe, hint="name a folder with a config.json of a known family"
        )
    known = replace(found.known, cache=key_value_cache(found.known.shape, args.cache_dtype))
    found = replace(found, known=known)
    if args.measure:
        render.talk("measuring this machine …")
    speed = measure_speed() if args.measure else known_speed()
    costs = _costs(known, speed, [gpu.name] if gpu else None, args.price)
    context = args.context or known.load.length
    if args.json:
        values = as_dict(found, costs, context, speed)
        print(render.as_json({**values, "cache": {**values["cache"], "dtype": args.cache_dtype}}))
    else:
        print(page(found, costs, context, speed, args.cache_dtype))
    return 0


def _costs(known: Known, speed: Speed | None, names: list[str] | None, price: float | None) -> list[Cost]:
    import psutil

    from workbench.models.estimate import GPUS, on_gpu, on_this_machine

    here = [on_this_machine(known, speed, psutil.virtual_memory().total)] if speed else []
    return here + [on_gpu(known, GPUS[name], price=price) for name in names or GPUS]


def as_dict(found: Estimate, costs: list[Cost], context: int, speed: Speed | None) -> dict[str, Any]:
    """Everything as plain values."""
    from dataclasses import asdict

    from workbench.models.estimate import MFU

    known = found.known
    assert known is not None
    return {
        "parameters": {
            **known.parameters.components(),
            "total": known.parameters.total,
            "without_embeddings": known.parameters.without_embeddings,
            "trainable": known.parameters.trainable,
        },
        "micro_batch": asdict(known.load),
        "flops_per_token": {
            **asdict(known.flops),
            "forward": known.flops.forward,
            "training": known.flops.training,
            "executed": known.flops.executed,
        },
        "memory": asdict(known.memory),
        "gpu_memory": asdict(known.gpu_memory),
        "cache": {**asdict(known.cache), "context": context, "bytes": known.cache.bytes(context, context)},
        "optimal": asdict(known.optimal),
        "plan": asdict(known.plan),
        "this_machine": asdict(speed) if speed else None,
        "assumed_utilisation": MFU,
        "costs": [asdict(cost) for cost in costs],
        "notes": list(found.notes),
    }


def page(
    found: Estimate, costs: list[Cost], context: int, speed: Speed | None, cache_dtype: str = "bf16"
) -> str:
    """Everything for a person."""
    from workbench.cli import render

    known = found.known
    assert known is not None
    parts = [
        _titled(f"parameters  {known.parameters.total:,}", _parameters(known)),
        _titled("floating-point operations a token", render.pairs(_operations(known), "  ")),
        _titled(f"memory of training  {render.size(known.memory.peak)} at the peak", _memory(known)),
        _titled(
            "sums instead of a cache, fp32"
            if known.cache.fixed
            else f"cache of keys and values, {cache_dtype}",
            render.pairs(_cache(known, context), "  "),
        ),
        _titled("compute-optimal training", render.pairs(_optimal(known), "  ")),
        _titled("time and cost", _cost_table(known, costs, speed)),
    ]
    if found.notes:
        parts.append("\n".join(f"note: {render.literal(note)}" for note in found.notes))
    return "\n\n".join(parts)


def _titled(title: str, text: str) -> str:
    from workbench.cli import render

    return f"{render.style(title, 'bold')}\n{text}"


def _bars(values: dict[str, int], show: Any) -> str:
    """Names, values and bars of their shares of the largest."""
    from workbench.cli import render

    shown = {name: value for name, value in values.items() if value}
    largest, total = max(shown.values(), default=1), sum(shown.values())
    block = "█" if render.has_unicode() else "#"
    width = max((len(name) for name in shown), default=0)
    lines = []
    for name, value in shown.items():
        bar = block * max(1, round(BAR * value / largest))
        label = f"{name.replace('_', ' '):{width}}  {show(value):>14}  {value / total:6.1%}"
        lines.append(f"  {label}  {render.style(bar, 'cyan')}")
    return "\n".join(lines)


def _parameters(known: Known) -> str:
    from workbench.cli import render

    found = known.parameters
    rows = [("without embeddings", f"{found.without_embeddings:,}")]
    if found.trainable != found.total:
        rows.append(("trainable", f"{found.trainable:,} ({found.trainable / found.total:.1%})"))
    return _bars(found.components(), lambda value: f"{value:,}") + "\n" + render.pairs(rows, "  ")


def _operations(known: Known) -> list[tuple[str, str]]:
    from workbench.cli import render

    found = known.flops
    share = found.attention / found.forward
    rows = [
        (
            "forward",
            f"{render.count(found.forward)}, {share:.0%} of it attention at {known.load.length} tokens",
        ),
        ("backward", render.count(found.backward)),
        ("training", render.count(found.training)),
    ]
    if found.recomputed:
        rows.append(("with recomputation", render.count(found.executed)))
    if found.attention_needed < found.attention:
        rows.append(("attention", f"{found.attention_needed / found.attention:.0%} of it is not masked"))
    if known.plan.flops:
        rows.append(("whole run", f"{known.plan.flops:.3g}"))
    return rows


def _memory(known: Known) -> str:
    from workbench.cli import render

    load = known.load
    rows = [
        ("micro-batch", f"{load.rows} rows of {load.length:,} tokens"),
        ("fullest at", known.memory.moment),
        ("on a GPU", render.size(known.gpu_memory.peak)),
    ]
    return _bars(known.memory.components(), render.size) + "\n" + render.pairs(rows, "  ")


def _cache(known: Known, context: int) -> list[tuple[str, str]]:
    from workbench.cli import render

    found = known.cache
    if found.is_none:
        return [("none", "an encoder reads a text at once")]
    rows = []
    if found.own or found.windowed:
        rows.append(("a token of context", render.size(found.own + found.windowed)))
    if found.windowed:
        beyond = f"then {render.size(found.own)} each" if found.own else "then no more"
        rows.append(("within the window", f"{found.window:,} tokens, {beyond}"))
    if found.fixed:
        rows.append(("a sequence", f"{render.size(found.fixed)}, however long"))
    if found.cross:
        rows.append(("a token of the source", render.size(found.cross)))
    return [*rows, (f"{context:,} tokens", render.size(found.bytes(context, context)))]


def _optimal(known: Known) -> list[tuple[str, str]]:
    from workbench.cli import render

    found = known.optimal
    ratio = found.tokens / found.parameters
    rows = [
        ("tokens", f"{render.count(found.tokens)}, {ratio:.0f} a parameter; predicted loss {found.loss:.2f}")
    ]
    if found.planned and found.share is not None:
        loss = f"; predicted loss {found.planned_loss:.2f}"
        rows.append(("planned", f"{render.count(found.planned)}, {found.share:.2%} of that{loss}"))
    if not found.applies:
        rows.append(("", "the law is of decoders from 70M parameters up: here no more than a hint"))
    return rows


def _cost_table(known: Known, costs: list[Cost], speed: Speed | None) -> str:
    from workbench.cli import render
    from workbench.models.estimate import MFU

    count = known.plan.processes
    times = f"{count} × " if count > 1 else ""
    rows = [
        [
            cost.device if cost.price is None else f"{times}{cost.device}",
            render.count(cost.tokens_per_second),
            units.duration(cost.seconds),
            units.NONE if cost.price is None else f"${cost.price:.2f}",
            units.NONE if cost.cost is None else f"${cost.cost:,.2f}",
            f"{'fits' if cost.fits else 'too small'} ({render.size(cost.memory)})",
        ]
        for cost in costs
    ]
    if speed is None:
        rows.insert(0, ["this machine", "not measured yet: --measure", "", "", "", ""])
    headers = ["on", "tokens/s", "time", "an hour", "cost", "memory"]
    table = render.table(headers, rows, right=(1, 2, 3, 4))
    assumed = (
        f"assumed: {MFU:.0%} of a GPU's peak, which small models do not reach, and prices that move "
        "(--price sets one)"
    )
    return "\n".join(f"  {line}" for line in table.splitlines()) + f"\n  {render.style(assumed, 'dim')}"
