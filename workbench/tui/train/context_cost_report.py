"""What a person sees of what a decoder takes by the length of the text: curves, and a table."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.tui.build.canvas import spell
from workbench.tui.build.log_curves import Curve, draw_curves
from workbench.tui.text import reveal_control, short_bytes
from workbench.tui.widgets.text_lines import Line, plain

Points = Sequence[Mapping[str, Any]]
OWN, FULL = ("key", "#"), ("warn", "o")
"""Role and letter of the model's curve, and of full attention's."""
LEAST, MOST = 3, 8
"""Lines of a curve."""
NAME, CELL = 9, 11


def cost_lines(content: Mapping[str, Any], width: int, height: int, symbols: str) -> list[Line]:
    """Everything that was measured of a model, the curves in about `height` lines. Raises `KeyError` or
    `TypeError` for a measurement of another shape."""
    moment = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(content["created"])))
    on = f"{content['runner']}, {content['dtype']}, {content['device']}, {content['threads']} threads"
    costs: Points = content["costs"]
    full: Points | None = content["full"]
    training: Points | None = content["training"]
    lines: list[Line] = [
        (("cost by the length of the text", "title"), (f"  {moment}", "")),
        plain(reveal_control(on), "dim"),
    ]
    dot = "#" if symbols == "ascii" else "━"
    if full:
        other = "o" if symbols == "ascii" else dot
        lines.append(((f"{dot} as it is", OWN[0]), ("   ", ""), (f"{other} with full attention", FULL[0])))
    drawn: list[tuple[str, str, Points, Points | None, Callable[[float], str]]] = [
        ("time of a further token", "token_seconds", costs, full, short_seconds),
        ("kept of the text", "kept_bytes", costs, full, _bytes),
        ("time to read it", "read_seconds", costs, full, short_seconds),
    ]
    if training:
        drawn.append(("time of a training step", "seconds", training, None, short_seconds))
    each = max(LEAST, min(MOST, (height - len(lines)) // len(drawn) - 2))
    for title, name, own, beside, spelled in drawn:
        lines += [plain(title, "title"), *_curve(name, own, beside, spelled, width, each, symbols)]
    lines += [plain(""), *_table(costs, full, training)]
    return (
        [tuple((spell(text), role) for text, role in line) for line in lines] if symbols == "ascii" else lines
    )


def _curve(
    name: str,
    own: Points,
    beside: Points | None,
    spelled: Callable[[float], str],
    width: int,
    height: int,
    symbols: str,
) -> list[Line]:
    first, last = own[0], own[-1]
    words = f"{first['length']:,} tokens {spelled(first[name])}"
    if len(own) > 1:
        words += f", {last['length']:,} {spelled(last[name])}"
        words += f" (full {spelled(beside[-1][name])})" if beside else ""
    foot = plain(words, "dim")
    if len(own) < 2:
        return [foot]
    curves = [
        Curve([(at["length"], max(1e-9, float(at[name]))) for at in points], role, letter)
        for points, (role, letter) in ([(beside, FULL)] if beside else []) + [(own, OWN)]
    ]
    values = [value for curve in curves for _, value in curve.points]
    return [*draw_curves(curves, width, height, symbols, spelled(min(values)), spelled(max(values))), foot]


def _table(costs: Points, full: Points | None, training: Points | None) -> list[Line]:
    heads = ["tokens", "read", "memory", "kept", "a token"]
    rows = [
        [
            f"{at['length']:,}",
            short_seconds(at["read_seconds"]),
            _bytes(at["read_peak_bytes"]),
            _bytes(at["kept_bytes"]),
            short_seconds(at["token_seconds"]),
        ]
        for at in costs
    ]
    if full:
        heads += ["full: kept", "a token"]
        for row, at in zip(rows, full, strict=False):
            row += [_bytes(at["kept_bytes"]), short_seconds(at["token_seconds"])]
    lines = _laid_out(heads, rows)
    if training:
        lines += [plain("training, one row, forward and backward, without the head", "title")]
        steps = [
            [f"{at['length']:,}", short_seconds(at["seconds"]), _bytes(at["peak_bytes"])] for at in training
        ]
        lines += _laid_out(["tokens", "a step", "memory"], steps)
    return lines


def _laid_out(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Line]:
    def line(cells: Sequence[str]) -> str:
        return "".join(f"{cell:>{CELL if number else NAME}}" for number, cell in enumerate(cells))

    return [plain(line(heads), "key"), *(plain(line(row)) for row in rows)]


def short_seconds(seconds: float) -> str:
    """`7.5 ms`, `12.30 s`."""
    return f"{seconds:.2f} s" if seconds >= 10 else f"{seconds * 1000:,.{1 if seconds < 0.1 else 0}f} ms"


def _bytes(count: float) -> str:
    return short_bytes(max(0, int(count)))
