"""What `workbench plan` prints: for a person, and as plain values."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from workbench import units

if TYPE_CHECKING:
    from workbench.scaling.layouts import Found, Layout, Plan, Setting
    from workbench.scaling.layouts.drawing import Line

BAR = 24
REASONS = 6
WIDE, MOST_COLUMNS = 100, 120
AGAIN = {"none": units.NONE, "selective": "cheap", "full": "layers"}
"""What is computed again in the backward pass, in a column."""
STYLES = {"one": "cyan", "two": "green", "three": "yellow", "key": "bold", "dim": "dim"}


def as_dict(setting: Setting, chosen: Plan, found: Found, top: int) -> dict[str, Any]:
    """Everything as plain values; times in seconds, memory in bytes."""
    from workbench.scaling.layouts import too_large_words

    on, model = setting.cluster, setting.model
    return {
        "model": {"name": model.name, "weights": model.weights, "layers": model.layers},
        "cluster": {
            "device": on.device.name,
            "memory": on.device.memory,
            "gpus": on.gpus,
            "nodes": on.nodes,
            "gpus_per_node": on.gpus_per_node,
            "in_node": on.in_node,
            "network": on.network,
            "interconnect": on.network_name,
        },
        "length": setting.length,
        "global_batch": setting.global_batch,
        "stack": setting.stack.name,
        "half_precision": setting.precision.half,
        "chosen": of_plan(chosen),
        "fitting": [of_plan(plan) for plan in found.fitting[:top]],
        "fitting_count": len(found.fitting),
        "too_large": [{**of_plan(plan), "reason": too_large_words(plan)} for plan in found.too_large[:top]],
        "too_large_count": len(found.too_large),
    }


def of_plan(plan: Plan) -> dict[str, Any]:
    """One layout with its figures."""
    return {
        "layout": plan.layout.words(),
        "degrees": asdict(plan.layout),
        "fits": plan.fits,
        "memory": {**plan.memory.components(), "peak": plan.memory.peak, "stage": plan.memory.stage},
        "step_seconds": plan.times.step,
        "times": plan.times.parts(),
        "hidden_communication": plan.times.hidden,
        "bubble": plan.bubble,
        "tokens_per_second": plan.tokens_per_second,
        "tflops_per_gpu": plan.flops_per_gpu / 1e12,
        "mfu": plan.mfu,
        "hfu": plan.hfu,
    }


def page(setting: Setting, chosen: Plan, found: Found, top: int) -> str:
    """Everything for a person."""
    from workbench.cli import render
    from workbench.scaling.layouts import draw_devices, draw_schedule

    width = min(render.columns(), MOST_COLUMNS)
    # Set in by two columns.
    room = width - 2
    parts = [
        "\n".join([render.style(render.literal(setting.model.name), "bold"), _subject(setting)]),
        _verdict(chosen, found),
        _titled(f"memory of a device  {_gb(chosen.memory.peak)} at the peak", _memory(chosen)),
        _titled(f"a step  {_seconds(chosen.times.step)}", _times(chosen)),
        _titled("devices", _painted(draw_devices(chosen.layout, setting.cluster.gpus_per_node, room))),
    ]
    schedule = draw_schedule(chosen, room, ascii_only=not render.has_unicode())
    if schedule:
        waits = f"waits {chosen.bubble:.1%} of the time it works"
        title = f"pipeline, {chosen.layout.schedule}: {waits}; backward passes take twice as long as forward"
        parts.append(_titled(title, _painted(schedule)))
    if found.fitting:
        head = f"{len(found.fitting)} ways to split the devices fit, the fastest first"
        parts.append(_titled(head, _table(found.fitting[:top])))
    if found.too_large:
        parts.append(_titled(f"{len(found.too_large)} do not fit", _reasons(found.too_large)))
    parts.append(render.style(textwrap.fill(_assumptions(setting), width), "dim"))
    return "\n\n".join(parts)


def _titled(title: str, text: str) -> str:
    from workbench.cli import render

    return f"{render.style(title, 'bold')}\n{text}"


def _subject(setting: Setting) -> str:
    from workbench.cli import render

    on, model = setting.cluster, setting.model
    nodes = f", {on.nodes} nodes of {on.gpus_per_node} with {on.network_name}" if on.nodes > 1 else ""
    rows = [
        ("model", f"{render.count(model.weights)} weights, {model.layers} layers of {model.hidden:,}"),
        ("devices", f"{on.gpus:,} × {on.device.name}, {_gb(on.device.memory)} each{nodes}"),
        (
            "a step",
            f"{setting.global_batch:,} rows of {setting.length:,} tokens: {render.count(setting.tokens)}",
        ),
        ("trained", setting.stack.title + (", bf16" if setting.precision.half else ", fp32")),
        ("source", model.source),
    ]
    return render.pairs([(name, render.literal(value)) for name, value in rows if value], "  ")


def _verdict(chosen: Plan, found: Found) -> str:
    from workbench.cli import render
    from workbench.scaling.layouts import devices_needed, nearest, too_large_words

    rows = [("layout", chosen.layout.words())]
    if not chosen.fits:
        rows.append(("does not fit", too_large_words(chosen)))
        other = nearest(chosen.setting, chosen.layout, found)
        if other is not None:
            rows.append(("nearest that fits", f"{other.layout.words()} ({_gb(other.memory.peak)})"))
        elif (larger := devices_needed(chosen.setting)) is not None:
            rows.append(("would fit on", f"{larger.setting.cluster.gpus:,}: {larger.layout.words()}"))
        else:
            rows.append(("would fit on", "no number of these devices; smaller rows or a smaller batch may"))
    rows += [
        ("tokens/s", f"{render.count(chosen.tokens_per_second)}, {_each(chosen)} a device"),
        ("FLOP/s", f"{chosen.flops_per_gpu / 1e12:.3g} TFLOP/s a device, {chosen.mfu:.1%} MFU{_hfu(chosen)}"),
    ]
    return render.pairs(rows)


def _each(chosen: Plan) -> str:
    from workbench.cli import render

    return render.count(chosen.tokens_per_second / chosen.setting.cluster.gpus)


def _hfu(chosen: Plan) -> str:
    return f" ({chosen.hfu:.1%} with what is recomputed)" if chosen.layout.recompute == "full" else ""


def _memory(chosen: Plan) -> str:
    from workbench.cli import render

    room = chosen.setting.cluster.device.memory
    text = _bars(chosen.memory.components(), _gb, room)
    where = f"of stage {chosen.memory.stage}, the fullest; " if chosen.layout.pp > 1 else ""
    note = f"{where}{chosen.memory.peak / room:.0%} of {_gb(room)}; the parts are not all held at once"
    return f"{text}\n  {render.style(note, 'dim')}"


def _times(chosen: Plan) -> str:
    from workbench.cli import render

    text = _bars(chosen.times.parts(), _seconds, chosen.times.step)
    if chosen.times.hidden > 0:
        hidden = f"{_seconds(chosen.times.hidden)} of exchange of weights and gradients hide behind computing"
        text += f"\n  {render.style(hidden, 'dim')}"
    return text


def _bars(values: dict[str, float], show: Any, whole: float) -> str:
    from workbench.cli import render

    shown = {name: value for name, value in values.items() if value > 0}
    block = "█" if render.has_unicode() else "#"
    width = max((len(name) for name in shown), default=0)
    return "\n".join(
        f"  {name:{width}}  {show(value):>9}  {value / whole:6.1%}  "
        + render.style(block * min(2 * BAR, max(1, round(BAR * value / whole))), "cyan")
        for name, value in shown.items()
    )


def _table(plans: Sequence[Plan]) -> str:
    from workbench.cli import render

    rows = [
        [
            *(_degree(plan.layout, name) for name in ("dp_replicate", "dp_shard", "cp", "tp", "pp")),
            _degree(plan.layout, "virtual_stages"),
            str(plan.layout.rows),
            str(plan.layout.microbatches),
            AGAIN[plan.layout.recompute],
            _gb(plan.memory.peak),
            _seconds(plan.times.step),
            render.count(plan.tokens_per_second),
            f"{plan.mfu:.1%}",
            f"{plan.bubble:.0%}" if plan.layout.pp > 1 else units.NONE,
            f"{_sent(plan):.0%}",
        ]
        for plan in plans
    ]
    headers = ["copies", "shard", "cp", "tp", "pp", "v", "rows", "m", "again"]
    headers += ["memory", "step", "tokens/s", "MFU", "bubble", "sent"]
    # What the step tells already goes where there is little room.
    shown = [n for n in range(len(headers)) if n not in (11, 13, 14) or render.columns() >= WIDE]
    table = render.table(
        [headers[n] for n in shown],
        [[row[n] for n in shown] for row in rows],
        right=[place for place, n in enumerate(shown) if n != 8],
    )
    return "\n".join(f"  {line}" for line in table.splitlines())


def _degree(layout: Layout, name: str) -> str:
    size: int = getattr(layout, name)
    return str(size) if size > 1 else units.NONE


def _sent(plan: Plan) -> float:
    times = plan.times
    return (times.tensor + times.context + times.pipeline + times.data) / times.step


def _reasons(plans: Sequence[Plan]) -> str:
    from workbench.cli import render
    from workbench.scaling.layouts import too_large_words

    lines = [_wrapped(f"{plan.layout.words()}: {too_large_words(plan)}") for plan in plans[:REASONS]]
    if len(plans) > REASONS:
        lines.append(render.style(f"  and {len(plans) - REASONS} more that need more", "dim"))
    return "\n".join(lines)


def _wrapped(text: str) -> str:
    """A sentence in the room there is, set in."""
    from workbench.cli import render

    width = min(render.columns(), MOST_COLUMNS)
    return textwrap.fill(text, width, initial_indent="  ", subsequent_indent="    ", break_long_words=False)


def _painted(lines: Sequence[Line]) -> str:
    from workbench.cli import render

    return "\n".join(
        ("  " + "".join(render.style(text, STYLES.get(role, "")) for text, role in line)).rstrip()
        for line in lines
    )


def _assumptions(setting: Setting) -> str:
    device = setting.cluster.device
    return (
        f"assumed: products of large matrices at {device.products:.0%} of the peak, attention at "
        f"{device.attention:.0%}, links and memory at 80 % of theirs; no failures, no waiting for data"
    )


def _gb(value: float) -> str:
    if value < 1e9:
        return f"{value / 1e6:.3g} MB"
    return f"{value / 1e9:.2f} GB" if value < 10e9 else f"{value / 1e9:.1f} GB"


def _seconds(value: float) -> str:
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


def known_as_dict() -> dict[str, Any]:
    """The published models and the interconnects."""
    from workbench.scaling.layouts.cluster import INTERCONNECTS
    from workbench.scaling.layouts.published import published_models

    return {
        "models": {
            name: {"weights": model.weights, "layers": model.layers, "source": model.source}
            for name, model in published_models().items()
        },
        "interconnects": {
            name: {"bytes_per_second": rate, "what": what} for name, (rate, what) in INTERCONNECTS.items()
        },
    }


def known_page() -> str:
    """The same for a person."""
    from workbench.cli import render

    known = known_as_dict()
    models = [
        [name, render.count(model["weights"]), str(model["layers"]), model["source"]]
        for name, model in known["models"].items()
    ]
    links = [
        [name, f"{link['bytes_per_second'] / 1e9:g}", link["what"]]
        for name, link in known["interconnects"].items()
    ]
    return "\n\n".join(
        [
            render.table(["model", "weights", "layers", "source"], models, right=(1, 2)),
            render.table(["interconnect", "GB/s a GPU", "what"], links, right=(1,)),
            "presets, recipes, runs and folders with a config.json can be planned too: workbench recipe list",
        ]
    )
