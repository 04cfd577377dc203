"""The estimates of a design as bars."""

from __future__ import annotations

from workbench.tui.build.bars import bar, stacked
from workbench.tui.build.canvas import spell
from workbench.tui.build.picture import SHADES
from workbench.tui.build.reckoning import Device, Reckoned
from workbench.tui.text import short_bytes, short_number
from workbench.tui.widgets.text_lines import Line, plain

SHORT = {
    "token_embeddings": "tokens",
    "position_embeddings": "positions",
    "segment_embeddings": "segments",
    "feed_forward": "feed-forward",
}


def draw_estimates(reckoned: Reckoned | None, device: Device, width: int, symbols: str) -> list[Line]:
    """Weights, memory, operations; a sentence where something is wrong with the design."""
    if reckoned is None:
        return [plain("No estimate while something is wrong; c shows what.", "warn")]
    lines = [*_parameters(reckoned, width, symbols), *_memory(reckoned, device, width, symbols)]
    if symbols == "ascii":
        lines = [tuple((spell(text), role) for text, role in line) for line in lines]
    return lines


def _parameters(reckoned: Reckoned, width: int, symbols: str) -> list[Line]:
    parameters = reckoned.estimate.parameters
    parts = {name: count for name, count in parameters.components().items() if count}
    words = f"{short_number(parameters.total)} parameters"
    lines: list[Line] = [((words, "title"), (f"  {parameters.total:,}", "dim"))]
    largest = max(parts.values())
    for name, count in parts.items():
        share = f"{short_number(count):>5} {count / parameters.total:4.0%}"
        lines.append(bar(SHORT.get(name, name), count, largest, share, width, symbols, "one"))
    return lines


def _memory(reckoned: Reckoned, device: Device, width: int, symbols: str) -> list[Line]:
    memory = reckoned.estimate.memory
    parts = {name: size for name, size in memory.components().items() if size}
    title = f"{short_bytes(memory.peak)} of memory in training"
    lines: list[Line] = [plain(""), ((title, "title"), (f"  peak: {memory.moment}", "dim"))]
    room = f"{device.name}, {short_bytes(device.room)}"
    lines += stacked(dict(parts), device.room, room, width, symbols)
    largest = max(parts.values())
    for number, (name, size) in enumerate(parts.items()):
        role = SHADES[number % len(SHADES)]
        lines.append(bar(name, size, largest, f"{short_bytes(size):>9}", width, symbols, role))
    return lines
