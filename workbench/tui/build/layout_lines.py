"""A planned layout as lines: what it takes of a device and of a step, and how it looks."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.scaling.layouts import Plan, draw_devices, draw_schedule, too_large_words
from workbench.scaling.layouts.layout import Layout
from workbench.tui.build.bars import bar, stacked
from workbench.tui.build.canvas import spell
from workbench.tui.build.picture import SHADES
from workbench.tui.text import short_number
from workbench.tui.widgets.text_lines import Line, plain

COLUMNS = (("copies", 6), ("shard", 5), ("cp", 3), ("tp", 3), ("pp", 4), ("v", 2), ("rows", 4), ("m", 5))
AGAIN = {"none": "–", "selective": "cheap", "full": "layers"}


def head_words() -> str:
    """The head of the list of layouts."""
    words = " ".join(f"{name:>{width}}" for name, width in COLUMNS)
    return f"{words} {'again':<6} {'memory':>7} {'step':>7} {'MFU':>6}"


def row_words(plan: Plan) -> str:
    """A layout in the list."""
    layout = plan.layout
    sizes = (
        *(layout.dp_replicate, layout.dp_shard, layout.cp, layout.tp, layout.pp, layout.virtual_stages),
        *(layout.rows, layout.microbatches),
    )
    words = " ".join(
        f"{size if size > 1 or number > 5 else '–':>{width}}"
        for number, (size, (_, width)) in enumerate(zip(sizes, COLUMNS, strict=True))
    )
    again = AGAIN[layout.recompute]
    return (
        f"{words} {again:<6} {gigabytes(plan.memory.peak):>7} {seconds(plan.times.step):>7} {plan.mfu:>6.1%}"
    )


def layout_lines(plan: Plan, width: int, symbols: str) -> list[Line]:
    """Everything about one layout."""
    groups = (
        _verdict(plan),
        _memory(plan, width, symbols),
        _times(plan, width, symbols),
        [plain("Devices", "title"), *draw_devices(plan.layout, plan.setting.cluster.gpus_per_node, width)],
        _schedule(plan, width, symbols),
    )
    lines: list[Line] = []
    for group in groups:
        lines += [plain(""), *group] if lines and group else group
    if symbols != "ascii":
        return lines
    return [tuple((spell(text.replace("⋮", ":")), role) for text, role in line) for line in lines]


def _verdict(plan: Plan) -> list[Line]:
    lines = [] if plan.fits else [plain(f"Does not fit: {too_large_words(plan)}", "bad")]
    speed = f"{short_number(plan.tokens_per_second)} tokens/s"
    flops = f"{plan.flops_per_gpu / 1e12:.3g} TFLOP/s a device, {plan.mfu:.1%} MFU"
    return [*lines, ((speed, "title"), (f"  {flops}", "")), plain(plan.layout.words(), "dim")]


def _memory(plan: Plan, width: int, symbols: str) -> list[Line]:
    memory, room = plan.memory, plan.setting.cluster.device.memory
    parts = {name: size for name, size in memory.components().items() if size}
    where = f"  stage {memory.stage}, the fullest" if plan.layout.pp > 1 else ""
    lines: list[Line] = [((f"{gigabytes(memory.peak)} of memory on a device", "title"), (where, "dim"))]
    # The largest of each are not held at once: the bar is as long as the peak.
    share = memory.peak / sum(parts.values())
    scaled = {name: size * share for name, size in parts.items()}
    lines += stacked(scaled, room, f"{plan.setting.cluster.device.name}, {gigabytes(room)}", width, symbols)
    largest = max(parts.values())
    for number, (name, size) in enumerate(parts.items()):
        lines.append(
            bar(name, size, largest, f"{gigabytes(size):>9}", width, symbols, SHADES[number % len(SHADES)])
        )
    return lines


def _times(plan: Plan, width: int, symbols: str) -> list[Line]:
    parts = {name: value for name, value in plan.times.parts().items() if value}
    hidden = plan.times.hidden
    words = f"  {seconds(hidden)} of exchange hide behind it" if hidden else ""
    lines: list[Line] = [((f"{seconds(plan.times.step)} a step", "title"), (words, "dim"))]
    for name, value in parts.items():
        share = f"{seconds(value):>7} {value / plan.times.step:4.0%}"
        lines.append(bar(name, value, plan.times.step, share, width, symbols, "two"))
    return lines


def _schedule(plan: Plan, width: int, symbols: str) -> list[Line]:
    drawn = draw_schedule(plan, width, ascii_only=symbols == "ascii")
    if not drawn:
        return []
    title = f"Pipeline, {plan.layout.schedule}"
    return [((title, "title"), (f"  waits {plan.bubble:.1%} of the time it works", "dim")), *drawn]


def setting_words(plan: Plan, name: str) -> str:
    """What is planned for, in a line."""
    setting = plan.setting
    on = setting.cluster
    nodes = f" in {on.nodes} nodes, {on.network_name.partition(',')[0]}" if on.nodes > 1 else ""
    batch = f"{setting.global_batch:,} rows of {setting.length:,} tokens a step"
    return f"{name} · {on.gpus:,} × {on.device.name}{nodes} · {batch}"


def gigabytes(value: float) -> str:
    """Bytes in decimal units, as makers of GPUs count them: 73 GB."""
    return f"{value / 1e6:.0f} MB" if value < 1e9 else f"{value / 1e9:.3g} GB"


def seconds(value: float) -> str:
    """A time in three digits."""
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


def is_alike(one: Layout, other: Layout | None) -> bool:
    """Whether two layouts split the devices alike."""
    return other is not None and one.axes == other.axes


def place_of(layouts: Sequence[Plan], wanted: Layout | None) -> int:
    """The place of the layout that splits alike, else the first."""
    return next((n for n, plan in enumerate(layouts) if is_alike(plan.layout, wanted)), 0)
