"""What a person sees of evaluations on long text: perplexity by position, and heat maps of pass keys.

Several variants stand beside each other under letters, be they of one evaluation or of several: before and
after.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.store.long_context import Result
from workbench.tui.text import reveal_control
from workbench.tui.widgets.text_lines import Line, Span, plain

SHADES = {True: " ░▒▓█", False: " .:*#"}
GOOD, FAIR = 0.75, 0.25
"""Shares from which on a cell is good, or fair."""
CELL = 6
"""Columns of a cell: two of shade, three digits and a blank."""
NUMBER = 14
"""Columns of a perplexity with its interval."""
NARROW, NAME = 8, 16
"""Columns of one without, and of what stands before a row."""
MEASURES = {"exact": "keys found", "probability": "probability of a token"}


@dataclass(frozen=True)
class Column:
    """One variant under its letter."""

    letter: str
    result: Result
    variant: Mapping[str, Any]
    first: str
    """The letter of the first variant of the same evaluation."""

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        extension = self.variant.get("extension")
        as_it_is = self.variant.get("method") == "none"
        title = f"as it is: {extension}" if as_it_is and extension else str(self.variant["title"])
        return reveal_control(title)


def columns_of(results: Sequence[Result]) -> list[Column]:
    """All variants of all results."""
    found: list[Column] = []
    for result in results:
        first = _letter(len(found))
        found += [
            Column(_letter(number), result, variant, first)
            for number, variant in enumerate(result.variants, len(found))
        ]
    return found


def _letter(number: int) -> str:
    """A to Z, then AA, AB …"""
    before, last = divmod(number, 26)
    return (_letter(before - 1) if before else "") + chr(ord("A") + last)


def report_lines(results: Sequence[Result], symbols: str, width: int = 100) -> list[Line]:
    """Everything about some results. Raises `KeyError` or `TypeError` for a file of another shape."""
    columns = columns_of(results)
    lines = [line for result in results for line in head(result)]
    lines += [plain(""), *legend(columns, several=len(results) > 1)]
    for part in (
        position_lines(columns, results, width),
        difference_lines(columns),
        length_lines(columns, width),
        map_lines(columns, "exact", symbols, width),
        map_lines(columns, "probability", symbols, width),
    ):
        lines += [plain(""), *part] if part else []
    return lines


def head(result: Result) -> list[Line]:
    """What was evaluated, when, on what."""
    content = result.content
    trained, context = content.get("trained"), content.get("context")
    known = f"trained to {trained:,} tokens" if trained else ""
    known += f", context {context:,}" if context and context != trained else ""
    moment = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(content["created"])))
    text = (
        f"{content['windows']} windows of {content['documents']} documents" if content.get("windows") else ""
    )
    strung = ", strung together" if content.get("joined") else ""
    of = f"{text}{strung}: {content['data']}" if text else ""
    return [
        ((reveal_control(result.name), "title"), (f"  {moment}, {known}", "")),
        *([plain(f"  {reveal_control(of)}", "dim")] if of else []),
    ]


def legend(columns: Sequence[Column], *, several: bool) -> list[Line]:
    """What the letters mean."""
    return [
        (
            (f"{column.letter}  ", "key"),
            (column.title, ""),
            (f"  {reveal_control(column.result.name)}" if several else "", "dim"),
        )
        for column in columns
    ]


def position_lines(columns: Sequence[Column], results: Sequence[Result], width: int) -> list[Line]:
    """Perplexity by position, with half of its interval."""
    found = {
        column.letter: {(p["start"], p["end"]): p for p in column.variant.get("positions", ())}
        for column in columns
    }
    places = sorted({place for own in found.values() for place in own})
    if not places:
        return []
    trained = min((result.content.get("trained") or 0 for result in results), default=0)
    lines = [plain("perplexity by position", "title")]
    for some in _beside(columns, width):
        lines.append(_heads(some, "tokens", width))
        marked = False
        for start, end in places:
            if trained and start >= trained and not marked:
                lines.append(plain(f"beyond the {trained:,} tokens that it learnt from", "dim"))
                marked = True
            cells = [_perplexity(found[column.letter].get((start, end))) for column in some]
            lines.append(_row(f"{start:,} to {end:,}", cells, width))
    return lines


def difference_lines(columns: Sequence[Column]) -> list[Line]:
    """What each variant gains over the first of its evaluation, in nats a token."""
    lines: list[Line] = []
    for column in columns:
        found = column.variant.get("difference")
        if found and found["nll"] is not None:
            role = "" if found["low"] is None else "good" if found["high"] < 0 else "bad"
            role = "" if role == "bad" and found["low"] <= 0 else role
            interval = "" if found["low"] is None else f"  {found['low']:+.3f} to {found['high']:+.3f}"
            lines.append(
                (
                    (f"{column.letter} - {column.first}  ", "key"),
                    (f"{found['nll']:+.3f}", role),
                    (interval, "dim"),
                )
            )
    return [plain("difference in nats a token, over all places", "title"), *lines] if lines else []


def length_lines(columns: Sequence[Column], width: int) -> list[Line]:
    """Perplexity by the length of the text: of all of it, of its last quarter, and by a sliding window."""
    lines: list[Line] = []
    for part, title in (
        ("lengths", "perplexity of texts of so many tokens"),
        ("tail", "… of their last quarter"),
        ("sliding", "… of the same tokens, with a window that slides"),
    ):
        found: dict[str, dict[int, Any]] = {}
        for column in columns:
            own = column.variant.get("sliding" if part == "sliding" else "lengths", ())
            found[column.letter] = {e["length"]: e["tail"] if part == "tail" else e for e in own}
        lengths = sorted({length for own in found.values() for length in own})
        if not lengths:
            continue
        lines.append(plain(title, "title"))
        for some in _beside(columns, width):
            lines.append(_heads(some, "tokens", width))
            for length in lengths:
                cells = [_perplexity(found[column.letter].get(length)) for column in some]
                lines.append(_row(f"{length:,}", cells, width))
    return lines


def _beside(columns: Sequence[Column], width: int) -> list[Sequence[Column]]:
    """As many columns at a time as there is room for."""
    most = max(1, (width - NAME) // NARROW)
    return [columns[start : start + most] for start in range(0, len(columns), most)]


def _heads(columns: Sequence[Column], name: str, width: int) -> Line:
    return _row(name, [f"{column.letter:>7}" for column in columns], width, "key")


def _row(name: str, cells: Sequence[str], width: int, role: str = "") -> Line:
    size = max(NARROW, min(NUMBER, (width - NAME) // max(1, len(cells))))
    # Where there is no room for intervals they go, not the perplexities.
    shown = [cell if len(cell) < size else cell[:7] for cell in cells]
    return ((f"{name:<{NAME}}", role or "dim"), ("".join(f"{cell:<{size}}" for cell in shown).rstrip(), role))


def _perplexity(found: Mapping[str, Any] | None) -> str:
    # No number is what a model gives that has none any more.
    if found is None or found["nll"] is None:
        return "      –"
    value = _exponential(found["nll"])
    text = f"{value:>7.2f}" if value < 1000 else f"{value:>7.3g}"
    if found.get("low") is None or value >= 1000:
        return text
    half = (_exponential(found["high"]) - _exponential(found["low"])) / 2
    return f"{text} ±{half:.2g}"


def _exponential(nll: float) -> float:
    return math.exp(nll) if nll < 700 else math.inf


def map_lines(columns: Sequence[Column], measure: str, symbols: str, width: int) -> list[Line]:
    """A heat map of pass keys for each variant, as many beside each other as there is room for."""
    with_keys = [column for column in columns if column.variant.get("passkeys")]
    if not with_keys:
        return []
    trials = {cell["trials"] for column in with_keys for cell in column.variant["passkeys"]}
    each = f" of {min(trials)}" if measure == "exact" and len(trials) == 1 else ""
    lines: list[Line] = [
        (
            (f"pass keys: {MEASURES[measure]}, in %{each}", "title"),
            ("  down: depth of the key; across: tokens", "dim"),
        )
    ]
    maps = [heat_map(column, measure, symbols) for column in with_keys]
    size = max(cells_of(line) for own in maps for line in own) + 3
    together = max(1, width // size)
    for start in range(0, len(maps), together):
        some = maps[start : start + together]
        for row in zip(*(_padded(own, max(map(len, some)), size) for own in some), strict=True):
            lines.append(tuple(span for line in row for span in line))
    return lines


def heat_map(column: Column, measure: str, symbols: str) -> list[Line]:
    """Depths down, lengths across; each cell a shade and a number, so that it reads without colours."""
    cells = {(cell["depth"], cell["length"]): cell for cell in column.variant["passkeys"]}
    depths, lengths = (sorted({place[part] for place in cells}) for part in (0, 1))
    heads = "".join(f"{_short(length):>{CELL - 1}} " for length in lengths)
    lines: list[Line] = [((f"{column.letter:<5}", "key"), (heads, "dim"))]
    for depth in depths:
        spans: list[Span] = [(f"{depth:>4.0%} ", "dim")]
        for length in lengths:
            cell = cells.get((depth, length))
            spans.append((" " * CELL, "") if cell is None else _cell(share_of(cell, measure), symbols))
        lines.append(tuple(spans))
    return lines


def share_of(cell: Mapping[str, Any], measure: str) -> float:
    """A cell as a share: of keys that were found, or the probability of a token of the key (the geometric
    mean)."""
    if measure == "exact":
        return float(cell["exact"] / cell["trials"])
    return 0.0 if cell["logprob"] is None else math.exp(min(0.0, cell["logprob"]))


def _cell(share: float, symbols: str) -> Span:
    shades = SHADES[symbols != "ascii"]
    shade = shades[min(len(shades) - 1, math.ceil(share * (len(shades) - 1)))]
    role = "good" if share >= GOOD else "warn" if share >= FAIR else "bad"
    return f"{shade * 2}{round(100 * share):>3} ", role


def _short(length: int) -> str:
    return f"{length:,}" if length < 10_000 else f"{length / 1024:.0f}k"


def cells_of(line: Iterable[Span]) -> int:
    """Characters of a line."""
    return sum(len(text) for text, _ in line)


def _padded(own: list[Line], height: int, size: int) -> list[Line]:
    rows: list[Line] = [*own, *[plain("")] * (height - len(own))]
    return [(*line, (" " * (size - cells_of(line)), "")) for line in rows]
