"""The estimates of a design as bars: weights, memory, operations, cache, time."""

from __future__ import annotations

from workbench.models.estimate import Known
from workbench.tui.build.bars import bar, stacked
from workbench.tui.build.canvas import spell
from workbench.tui.build.picture import SHADES
from workbench.tui.build.reckoning import Reckoned
from workbench.tui.text import reveal_control, short_bytes, short_number
from workbench.tui.widgets.text_lines import Line, plain
from workbench.units import duration

SHORT = {
    "token_embeddings": "tokens",
    "position_embeddings": "positions",
    "segment_embeddings": "segments",
    "feed_forward": "feed-forward",
}
CONTEXTS = 4
"""Contexts that the cache is shown for: the whole one and its quarters of quarters."""


def draw_estimates(reckoned: Reckoned | None, width: int, symbols: str) -> list[Line]:
    """All figures, each group under its sum; a sentence where there are none."""
    if reckoned is None:
        return [plain("No estimate while something is wrong; c shows what.", "warn")]
    if reckoned.known is None:
        return [plain(reveal_control(reckoned.reason), "warn")]
    known = reckoned.known
    groups = (
        _parameters(known, width, symbols),
        _memory(reckoned, known, width, symbols),
        _operations(known, width, symbols),
        _cache(known, width, symbols),
        _time(reckoned, known),
        [plain("l: memory and time by the length of the text", "dim")] if not known.cache.is_none else [],
        [plain(reveal_control(note), "dim") for note in reckoned.notes],
    )
    lines: list[Line] = []
    for group in groups:
        lines += [plain(""), *group] if lines and group else group
    if symbols == "ascii":
        lines = [tuple((spell(text), role) for text, role in line) for line in lines]
    return lines


def _parameters(known: Known, width: int, symbols: str) -> list[Line]:
    parameters = known.parameters
    parts = {name: count for name, count in parameters.components().items() if count}
    words = f"{short_number(parameters.total)} parameters"
    lines: list[Line] = [((words, "title"), (f"  {parameters.total:,}", "dim"))]
    largest = max(parts.values())
    for name, count in parts.items():
        share = f"{short_number(count):>5} {count / parameters.total:4.0%}"
        lines.append(bar(SHORT.get(name, name), count, largest, share, width, symbols, "one"))
    return lines


def _memory(reckoned: Reckoned, known: Known, width: int, symbols: str) -> list[Line]:
    """Each component at its largest, and the peak on the scale of the device's memory."""
    device = reckoned.device
    memory = device.memory_of(known)
    parts = {name: size for name, size in memory.components().items() if size}
    title = f"{short_bytes(memory.peak)} of memory in training"
    lines: list[Line] = [((title, "title"), (f"  peak: {memory.moment}", "dim"))]
    # The largest of each are not held at once: the bar is as long as the peak.
    share = memory.peak / sum(parts.values())
    peak = {name: size * share for name, size in parts.items()}
    lines += stacked(peak, device.room, f"{device.name}, {short_bytes(device.room)}", width, symbols)
    largest = max(parts.values())
    for number, (name, size) in enumerate(parts.items()):
        role = SHADES[number % len(SHADES)]
        lines.append(bar(name, size, largest, f"{short_bytes(size):>9}", width, symbols, role))
    return lines


def _operations(known: Known, width: int, symbols: str) -> list[Line]:
    flops = known.flops
    title = f"{short_number(flops.training)} FLOPs a token in training"
    parts = {"weights": flops.weights, "attention": flops.attention, "backward": flops.backward}
    if flops.recomputed:
        parts["recomputed"] = flops.recomputed
    largest = max(parts.values())
    return [
        plain(title, "title"),
        *(
            bar(name, value, largest, f"{short_number(value):>5}", width, symbols, "two")
            for name, value in parts.items()
        ),
    ]


def _cache(known: Known, width: int, symbols: str) -> list[Line]:
    """Of encoders there is none."""
    cache, longest = known.cache, known.shape.positions
    if cache.is_none:
        return []
    contexts = [length for length in (longest // 4**power for power in range(CONTEXTS)) if length >= 8]
    largest = cache.bytes(longest, longest if cache.cross else 0)
    what = "sums in fp32" if cache.fixed else "KV cache in bf16"
    lines: list[Line] = [plain(f"{short_bytes(largest)} of {what}, one sequence", "title")]
    for length in reversed(contexts):
        size = cache.bytes(length, length if cache.cross else 0)
        words = f"{short_bytes(size):>9}"
        lines.append(bar(f"{length:,} tokens", size, largest, words, width, symbols, "three"))
    return lines


def _time(reckoned: Reckoned, known: Known) -> list[Line]:
    plan, optimal, cost = known.plan, known.optimal, reckoned.cost
    lines: list[Line] = [plain("Training", "title")]
    lines.append(_pair("a step", f"{plan.tokens_per_step:,} tokens"))
    if plan.tokens is not None and plan.flops is not None:
        words = f"{short_number(plan.tokens)} tokens, {plan.flops:.2g} FLOPs in {plan.steps:,} steps"
        lines.append(_pair("planned", words))
    hint = "" if optimal.applies else "; a hint, the law was fitted to larger decoders"
    words = f"{short_number(optimal.tokens)} tokens, {optimal.tokens / optimal.parameters:.0f} a parameter"
    lines.append(_pair("optimal", f"{words}, loss {optimal.loss:.2f}{hint}"))
    if optimal.share is not None and optimal.planned_loss is not None:
        lines.append(_pair("of it", f"{optimal.share:.1%}, loss {optimal.planned_loss:.2f}"))
    if cost is None:
        words = "not known here before workbench estimate --measure; g reckons with a GPU"
        lines.append(_pair("time", words))
        return lines
    lines.append(_pair("speed", f"{short_number(cost.tokens_per_second)} tokens/s on {cost.device}"))
    money = f", about ${cost.cost:,.2f}" if cost.cost is not None else ""
    if cost.seconds is not None:
        lines.append(_pair("time", f"{duration(cost.seconds)}{money}"))
    return lines


def _pair(name: str, words: str) -> Line:
    return ((f"{name:<9}", "key"), (words, ""))
