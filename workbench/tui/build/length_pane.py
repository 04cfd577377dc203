"""What a design takes by the length of the text, beside the same design with full attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workbench.models.estimate import AtLength, at_lengths, with_full_attention
from workbench.tui.build.canvas import spell
from workbench.tui.build.log_curves import Curve, draw_curves
from workbench.tui.build.reckoning import Reckoned
from workbench.tui.text import reveal_control, short_bytes, short_number
from workbench.tui.widgets.text_lines import Line, plain

Value = Callable[[AtLength], float]
QUANTITIES: tuple[tuple[str, Value, Callable[[float], str]], ...] = (
    ("kept of a sequence", lambda at: at.kept, lambda value: short_bytes(int(value))),
    ("read for the next token", lambda at: at.read, lambda value: short_bytes(int(value))),
    ("FLOPs a token in training", lambda at: at.training, short_number),
)
DESIGN, FULL = ("one", "#"), ("two", "o")
"""Colour and letter of the design's curve, and of full attention's."""


def draw_lengths(reckoned: Reckoned | None, width: int, height: int, symbols: str) -> list[Line]:
    """A curve of each quantity from 256 to 16,384 tokens, on logarithmic axes, with a few of its values."""
    if reckoned is None:
        return [plain("No estimate while something is wrong; c shows what.", "warn")]
    if reckoned.known is None:
        return [plain(reveal_control(reckoned.reason), "warn")]
    shape = reckoned.known.shape
    if shape.family != "llama":
        return [plain("Only decoders write token by token; this design reads whole rows.", "dim")]
    own, full = at_lengths(shape), at_lengths(with_full_attention(shape))
    is_full = shape.attention.kind == "full"
    dot = "#" if symbols == "ascii" else "━"
    legend = [(f"{dot} {'full attention' if is_full else 'this design'}", DESIGN[0])]
    if not is_full:
        legend += [("   ", ""), (f"{'o' if symbols == 'ascii' else dot} with full attention", FULL[0])]
    lines: list[Line] = [tuple(legend)]
    each = max(3, min(6, (height - 2) // len(QUANTITIES) - 3))
    for title, value, spelled in QUANTITIES:
        lines += [plain(title, "title"), *_curve(own, full, is_full, value, spelled, width, each, symbols)]
    lines.append(plain("reckoned in bf16; workbench context cost MODEL measures", "dim"))
    if symbols == "ascii":
        lines = [tuple((spell(text), role) for text, role in line) for line in lines]
    return lines


def _curve(
    own: Sequence[AtLength],
    full: Sequence[AtLength],
    is_full: bool,
    value: Value,
    spelled: Callable[[float], str],
    width: int,
    height: int,
    symbols: str,
) -> list[Line]:
    shown = [(own, DESIGN)] if is_full else [(full, FULL), (own, DESIGN)]
    curves = [
        Curve([(at.length, max(1.0, value(at))) for at in points], role, letter)
        for points, (role, letter) in shown
    ]
    values = [value for curve in curves for _, value in curve.points]
    lines = draw_curves(curves, width, height, symbols, spelled(min(values)), spelled(max(values)))
    first, last = own[0], own[-1]
    words = f"{first.length:,} tokens {spelled(value(first))}, {last.length:,} {spelled(value(last))}"
    if not is_full:
        words += f" (full {spelled(value(full[-1]))})"
    return [*lines, plain(words, "dim")]
